"""The privacy page's text and rules, without any server: nothing put in can be HTML, nothing old or foreign counts."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

from device.message import envelope
from device.message.review import Review, unreadable
from device.message.tag import Tag
from device.page import frame, leaving, password, session
from device.page.facts import Facts, Live, Microphone, Place, Request, Sent
from device.page.markup import Html, fill
from device.page.origin import is_known, is_own_form
from device.page.overview import overview, state_of
from device.page.sent import plot
from device.page.session import LASTS_S, Session, cookie, form_token, is_form_of, read_cookie
from device.page.throttle import FREE, LONGEST_S, Throttle
from device.page.times import spoken

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
BEGAN = Session(1_795_000_000, "0123456789abcdef" * 2)
NOW = datetime(2026, 11, 27, 15, 30, tzinfo=timezone(timedelta(hours=1)))
LOOK = frame.Look("kitchen", "abc")
PLACE = Place(
    "kitchen",
    "wakeword/kitchen",
    "broker.lan:1883",
    tls=False,
    format="wav",
    asked="",
    version="0.2.0",
    history_days=30,
    keeps_wake_sound=False,
)
HOSTILE = "\"'><script>alert(1)</script>{token}"


def facts(**changes):
    plain = {
        "place": PLACE,
        "now": NOW,
        "live": Live(running=False),
        "review": Review(opt_out=True, choice="default", revision=0, changed_at=None),
        "sentence": None,
        "microphone": Microphone(muted=False, since="2026-11-27T10:00:00.000Z"),
        "waiting": (),
        "sent": (),
    }
    return Facts(**plain | changes)


# --- what is put in ---


def test_nothing_that_is_put_in_is_html_but_html_of_ours():
    assert fill('<a title="{a}">{b}</a>', a=HOSTILE, b=Html("<b>")) == (
        '<a title="&quot;&#x27;&gt;&lt;script&gt;alert(1)&lt;/script&gt;{token}"><b></a>'
    )


def test_whatever_is_shown_no_text_becomes_a_tag():
    place = msgspec.convert(
        {"device": HOSTILE, "base_topic": HOSTILE, "broker": HOSTILE, "tls": True, "format": HOSTILE,
         "asked": HOSTILE, "version": HOSTILE, "history_days": 30, "keeps_wake_sound": True}, Place)  # fmt: skip
    request = Request(HOSTILE, HOSTILE, HOSTILE, 1.0, opt_out=False, problem=HOSTILE)
    review = Review(opt_out=False, choice="user", revision=1, changed_at=HOSTILE)
    everything = facts(
        place=place, live=Live(running=True, microphone="lost", reason=HOSTILE), review=review, sentence=HOSTILE,
        microphone=Microphone(muted=True, since=HOSTILE), waiting=(request,), damaged=(HOSTILE,), problem=HOSTILE,
        sent=(Sent(HOSTILE, HOSTILE, HOSTILE, 1.0, False, None),), withdrawn_at=HOSTILE,
    )  # fmt: skip
    look = frame.Look(HOSTILE, HOSTILE)
    for shown in (
        overview(look, everything, token=HOSTILE, notice=HOSTILE),
        overview(look, everything, token=HOSTILE, problem=HOSTILE),
        frame.login(look, HOSTILE),
        frame.says(look, HOSTILE, HOSTILE, hint=HOSTILE),
        frame.ask_to_opt_in(look, revision=1, token=HOSTILE),
        frame.without_password(look),
    ):
        assert "alert(1)" in shown
        assert "<script>" not in shown
        assert not re.search(r"[\"'][^<>]*><script", shown)


def test_a_notice_that_nobody_knows_is_none():
    assert "notice" not in overview(LOOK, facts(), token="t", notice="You have won")  # noqa: S106


# --- times ---


@pytest.mark.parametrize(
    ("timestamp", "said"),
    [
        ("2026-11-27T14:29:59.999Z", "today, 15:29"),
        ("2026-11-26T23:00:00.000Z", "today, 00:00"),
        ("2026-11-26T22:59:59.000Z", "yesterday, 23:59"),
        ("2026-11-22T20:43:21.652Z", "22 Nov, 21:43"),
        ("2025-11-22T20:43:21.652Z", "22 Nov 2025, 21:43"),
        ("2030-01-01T00:00:00.000Z", "1 Jan 2030, 01:00"),
        ("1970-01-01T00:00:00.000Z", "1 Jan 1970, 01:00"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00.000Z", "1 Jan 1, 01:00"),
        ("never", "never"),
        ("", ""),
    ],
)
def test_a_time_is_said_as_seen_from_now_however_far_a_clock_jumped(timestamp, said):
    assert spoken(timestamp, NOW) == said


# --- what leaves ---


def test_what_leaves_names_every_field_of_the_tag():
    assert tuple(leaving.TAG) == Tag.__struct_fields__


def test_what_leaves_names_every_topic_that_the_readme_has():
    """But the answer's and the commands', which are published by others."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z/-]+`,? ?)+)\|", text.partition("topic under")[2], re.MULTILINE)
    topics = {topic for row in rows for topic in re.findall("`([^`]+)`", row)}
    assert set(leaving.TOPICS) == {topic for topic in topics if topic != "answer" and not topic.endswith("/set")}
    assert {envelope.topic("p", "d", opt_out=opt_out)[4:] for opt_out in (True, False)} <= set(leaving.TOPICS)


def test_what_leaves_says_where_to_and_whether_anybody_can_read_it_on_its_way():
    shown = leaving.text(PLACE)
    assert "<strong>broker.lan:1883</strong>, not encrypted on its way" in shown
    assert "hears every request" not in shown
    asked = Place(
        "k", "w/k", "b:8883", tls=True, format="flac", asked="http://ha:8123", version="1", history_days=30,
        keeps_wake_sound=False,
    )  # fmt: skip
    assert "encrypted by TLS" in leaving.text(asked)
    assert "<strong>http://ha:8123</strong> hears every request, opted out or not" in leaving.text(asked)


# --- what is shown ---


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (Live(running=False), ("off", "The recorder is not running")),
        (Live(running=True), ("on", "The recorder is running")),
        (Live(running=True, microphone="listening"), ("on", "Listening for the wake word")),
        (Live(running=True, microphone="muted"), ("off", "Muted")),
        (Live(running=True, microphone="lost", reason="unplugged"), ("bad", "The microphone is not heard: unplugged")),
    ],
    ids=str,
)
def test_the_state_is_said_in_words(live, said):
    assert state_of(live) == said


def test_a_switch_says_by_itself_which_way_it_stands():
    shown = overview(LOOK, facts(), token="t")  # noqa: S106
    assert re.findall(r'role="switch" aria-checked="(\w+)"', shown) == ["false", "true"]
    review = Review(opt_out=False, choice="user", revision=1, changed_at="2026-11-27T14:00:00.000Z")
    shown = overview(LOOK, facts(review=review, microphone=Microphone(True, "x")), token="t")  # noqa: S106
    assert re.findall(r'role="switch" aria-checked="(\w+)"', shown) == ["true", "false"]


def test_what_cannot_be_read_is_left_out_and_said():
    shown = overview(LOOK, facts(microphone=None, waiting=None, problem="the disk is full"), token="t")  # noqa: S106
    assert 'role="alert">the disk is full' in shown
    assert "Nothing waits" not in shown
    assert shown.count('role="switch"') == 1
    assert "cannot be read" in overview(LOOK, facts(review=unreadable()), token="t")  # noqa: S106


@pytest.mark.parametrize(
    ("many", "open_", "said"),
    [(0, 0, ""), (3, 3, ""), (4, 3, "Show 1 more"), (23, 3, "Show 17 more"), (20, 3, "17 more")],
)
def test_a_few_stand_there_the_rest_is_asked_for_and_what_is_older_counted(many, open_, said):
    waiting = tuple(Request(str(number), "x", "alexa", 1.0, True, "") for number in range(many))
    text = overview(LOOK, facts(waiting=waiting), token="t")  # noqa: S106
    first, _, rest = text.partition("Waiting</h2>")[2].partition("<details><summary>Show")
    assert first.count("<li>") == open_
    assert text.count("<li>") == min(many, 20)
    assert said in text
    assert ("And 3 older." in rest) is (many == 23)
    assert f'value="{many - 1}"' in first or not many


# --- what was sent ---


def sent_on(days_ago, *, opt_out=False, erasure=None):
    at = (NOW - timedelta(days=days_ago)).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Sent(f"id-{days_ago}", at, "alexa", 1.0, opt_out, erasure)


def test_the_plot_has_a_bar_for_each_day_as_high_as_what_was_sent_and_ends_today():
    bars = plot([sent_on(0), sent_on(0, opt_out=True), sent_on(29), sent_on(30), sent_on(-1)], NOW)
    found = re.findall(r'class="(\w+)" x="(\d+)" y="(\d+)" width="8" height="(\d+)"', bars)
    assert found == [("open", "0", "24", "24"), ("open", "348", "24", "24"), ("closed", "348", "0", "24")]
    assert 'aria-label="Sent on each of the last 30 days: at most 2 a day, 2 today."' in bars
    assert plot([sent_on(40), Sent("x", "never", "alexa", 1.0, False, None)], NOW) == ""


def test_what_left_as_reviewable_can_be_withdrawn_once_and_what_was_opted_out_need_not_be():
    entries = (sent_on(0), sent_on(1, opt_out=True), sent_on(2, erasure="asked"), sent_on(3, erasure="told"))
    shown = overview(LOOK, facts(sent=entries), token="t")  # noqa: S106
    assert re.findall(r'action="/withdraw-one">.*?name="id" value="([^"]*)"', shown, re.DOTALL) == ["id-0"]
    assert "· to be withdrawn" in shown
    assert "· withdrawn" in shown
    assert "Whoever has the request that was sent as reviewable is asked to erase it." in shown
    assert 'action="/withdraw"' not in overview(LOOK, facts(sent=entries[1:]), token="t")  # noqa: S106


def test_without_a_history_it_is_said_that_there_is_none():
    shown = overview(LOOK, facts(place=dataclasses.replace(PLACE, history_days=0)), token="t")  # noqa: S106
    assert "What is sent is not remembered: [history] days is 0." in shown
    assert "plot" not in shown


# --- sessions ---


def test_a_session_is_its_cookies_until_it_is_over():
    value = cookie(BEGAN, KEY)
    for passed_s in (0, LASTS_S - 1, -59):
        assert read_cookie(value, KEY, BEGAN.began_s + passed_s) == BEGAN
    for jumped_s in (LASTS_S, 10 * LASTS_S, -61, -BEGAN.began_s):
        assert read_cookie(value, KEY, BEGAN.began_s + jumped_s) is None
    assert read_cookie(value, OTHER_KEY, BEGAN.began_s) is None


def test_no_changed_character_of_a_cookie_passes():
    value = cookie(BEGAN, KEY)
    for place in range(len(value)):
        for other in ("0", "f", ".", "٣"):
            changed = value[:place] + other + value[place + 1 :]
            assert changed == value or read_cookie(changed, KEY, BEGAN.began_s) is None


def test_a_forms_token_is_its_sessions_and_no_cookie():
    token = form_token(BEGAN, KEY)
    assert is_form_of(token, BEGAN, KEY)
    assert not is_form_of(token, Session(BEGAN.began_s, "f" * 32), KEY)
    assert not is_form_of(token, BEGAN, OTHER_KEY)
    assert not is_form_of("", BEGAN, KEY)
    assert token not in cookie(BEGAN, KEY)
    assert session.read_cookie(f"{BEGAN.began_s}.{BEGAN.nonce}.{token}", KEY, BEGAN.began_s) is None


# --- passwords ---


def test_only_the_password_matches_and_the_same_one_is_stored_differently_each_time():
    one = password.store("correct horse", salt=b"s" * 16, session_key=KEY)
    other = password.store("correct horse", salt=b"t" * 16, session_key=KEY)
    assert password.matches(one, "correct horse")
    assert not password.matches(one, "correct horsE")
    assert not password.matches(one, "correct horse" * 1000)
    assert one.hash != other.hash
    assert password.from_bytes(password.to_bytes(one)) == one
    assert one.hash not in repr(one)


@pytest.mark.parametrize("change", [{"n": 2}, {"n": 2**30}, {"salt": ""}, {"hash": "0"}, {"scheme": "md5"}, {"x": 1}])
def test_a_stored_password_that_is_too_weak_too_costly_or_odd_is_none(change):
    good = json.loads(password.to_bytes(password.store("correct horse", salt=b"s" * 16, session_key=KEY)))
    with pytest.raises(ValueError, match=r"at `\$|unknown field|Invalid enum"):
        password.from_bytes(json.dumps(good | change).encode())


# --- tries ---


def test_a_few_tries_are_free_then_each_waits_twice_as_long_up_to_a_limit():
    throttle, now_s = Throttle(), 0.0
    for _ in range(FREE):
        assert throttle.wait_s("10.0.0.1", now_s) == 0
    waits = []
    for _ in range(12):
        waits.append(throttle.wait_s("10.0.0.1", now_s))
        now_s += waits[-1]
        assert throttle.wait_s("10.0.0.1", now_s) == 0
    assert waits == [10, 20, 40, 80, 160, *[LONGEST_S] * 7]


def test_another_address_waits_for_nobody_and_a_network_of_ipv6_is_one():
    throttle = Throttle()
    for number in range(FREE):
        assert throttle.wait_s(f"2001:db8::{number}", 0) == 0
    assert throttle.wait_s("2001:db8::ffff", 0) > 0
    assert throttle.wait_s("2001:db8:1::1", 0) == 0
    assert throttle.wait_s("10.0.0.1", 0) == 0
    for _ in range(FREE - 1):
        assert throttle.wait_s("::ffff:10.0.0.1", 0) == 0
    assert throttle.wait_s("10.0.0.1", 0) > 0


def test_the_right_password_and_a_long_while_begin_anew():
    throttle = Throttle()
    for _ in range(FREE):
        throttle.wait_s("10.0.0.1", 0)
    throttle.forget("10.0.0.1")
    assert throttle.wait_s("10.0.0.1", 0) == 0
    for _ in range(FREE):
        throttle.wait_s("10.0.0.1", 0)
    assert [throttle.wait_s("10.0.0.1", 2 * LONGEST_S) for _ in range(FREE)] == [0] * FREE


def test_strangers_addresses_are_remembered_in_bounded_memory():
    throttle = Throttle()
    for number in range(5_000):
        throttle.wait_s(f"10.0.{number // 256}.{number % 256}", 0)
    assert len(throttle._tries) <= 1_000


# --- names ---


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True), ("localhost:8060", True), ("127.0.0.1", True), ("[::1]:8060", True), ("10.0.0.7:80", True),
        ("kitchen.local", True), ("Kitchen.Local:443", True), ("kitchen.local.", True), ("evil.example", False),
        ("127.0.0.1.evil.example", False), ("localhost.evil.example", False), ("", False), ("[::1", False),
        ("kitchen.local@evil", False), ("a b", False), ("kitchen.local:80:80", False), ("kitchen.local/x", False),
    ],
)  # fmt: skip
def test_only_its_addresses_and_names_name_this_device(host, known):
    assert is_known(host, {"kitchen.local"}) is known


@pytest.mark.parametrize(
    ("origin", "site", "secure", "own"),
    [
        ("http://kitchen:8060", "same-origin", False, True),
        ("http://kitchen:8060", None, False, True),
        ("HTTP://Kitchen:8060", None, False, True),
        ("https://kitchen:8060", "same-origin", True, True),
        ("http://kitchen:8060", "same-origin", True, False),
        ("http://kitchen", "same-origin", False, False),
        ("http://evil.example", "same-origin", False, False),
        ("http://kitchen:8060", "cross-site", False, False),
        ("http://kitchen:8060", "none", False, False),
        ("null", None, False, False),
        (None, None, False, False),
        (None, "same-origin", False, False),
    ],
)
def test_a_form_is_the_pages_own_only_where_the_browser_says_so(origin, site, secure, own):
    assert is_own_form(origin, site, "kitchen:8060", secure=secure) is own


def test_the_time_zone_of_now_is_the_one_that_is_shown():
    assert spoken("2026-11-27T14:00:00.000Z", NOW.astimezone(UTC)) == "today, 14:00"
