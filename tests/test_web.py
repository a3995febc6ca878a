"""The privacy page over real HTTP: who gets in, what each form does, and what comes of anything odd."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import await_true, make_certificates
from support.daemon import Daemon, Device
from support.stores import drain, open_store, pcm_of, put, read_anew
from support.web import PASSWORD, Page, Visitor, end_of, state_of

from device.edges.clock import SystemClock
from device.edges.store.folder import DATABASE
from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav
from device.message.wording import STILL_RECORDING, VERSION, wording
from device.page.overview import LATER, NOTICES
from device.page.pieces import SHOWN

WRONG = "not it"
GONE = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """One page for all tests that leave the process as it was."""
    with Page(Device(tmp_path_factory.mktemp("device"))) as page:
        yield page


@pytest.fixture
def store(page):
    """Its state, opted in and unmuted, with nothing waiting."""
    with open_store(state_of(page.device), default_opt_out=True, clock=SystemClock(), history_days=30) as store:
        store.delete()
        store.history.clear()
        store.choose(False)
        store.set_muted(False)
        yield store


@pytest.fixture(scope="module")
def cookie(page):
    return Visitor(page).cookie


@pytest.fixture
def visitor(page, cookie):
    return Visitor(page, cookie=cookie)


# --- who gets in ---


def test_without_a_password_it_shows_nothing_but_how_to_set_one(tmp_path):
    with Page(Device(tmp_path), password=None) as page:
        visitor = Visitor(page, password=None)
        assert visitor.get("/").to == "/login"
        closed = visitor.get("/login")
        assert (closed.status, "sudo wakeword-recorder web --set-password" in closed.said()) == (403, True)
        assert visitor.send("/login", password="").status == 403
        assert visitor.get("/live").status == 401
        page.set_password(PASSWORD)  # counts at once
        assert Visitor(page).get().status == 200


def test_only_the_password_opens_it_and_what_is_kept_is_no_password(page, store):
    stranger = Visitor(page, password=None)
    for path in ("/", "/opt-in", f"/waiting/{put(store).tag.id}.wav"):
        assert stranger.get(path).to == "/login"
    for path in ("/opt-out", "/mute", "/delete-all", "/logout"):
        assert stranger.send(path, token="0" * 64).to == "/login"
    for wrong in ("", "Correct horse battery", PASSWORD * 100):
        answer = stranger.send("/login", password=wrong)
        assert (answer.status, "That is not the password." in answer.said()) == (403, True)
        assert "set-cookie" not in answer.headers
    assert store.count() == 1
    kept = (state_of(page.device) / "web-password").read_text()
    assert PASSWORD not in kept
    assert '"scheme":"scrypt"' in kept
    assert (state_of(page.device) / "web-password").stat().st_mode & 0o777 == 0o600


def test_the_cookie_is_for_this_site_alone_and_out_of_reach_of_scripts(page):
    answer = Visitor(page, password=None).send("/login", password=PASSWORD)
    assert {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]} == {
        "httponly", "samesite=strict", "path=/", "max-age=43200",
    }  # fmt: skip


def test_a_forged_a_foreign_and_an_ended_cookie_open_nothing(page, visitor):
    began, nonce, signed = visitor.cookie.removeprefix("session=").split(".")
    for forged in (f"{int(began) + 1}.{nonce}.{signed}", f"{began}.{nonce}.{'0' * 64}", "", "x", "1.2.3", "\udcff"):
        cookie = f"session={forged}".encode(errors="surrogateescape").decode("latin-1")
        assert visitor.page.ask("GET", "/", {"Cookie": cookie}).to == "/login"
    assert visitor.get().status == 200
    assert visitor.send("/logout", **visitor.get().hidden("/logout")).to == "/login"
    assert visitor.get().to == "/login"


def test_another_password_ends_every_session_at_once(tmp_path):
    with Page(Device(tmp_path)) as page:
        visitor = Visitor(page)
        page.set_password("another password")
        assert visitor.get().to == "/login"
        assert Visitor(page, password=None).send("/login", password=PASSWORD).status == 403
        assert Visitor(page, "another password").get().status == 200


def test_the_sixth_try_in_a_row_has_to_wait_even_with_the_right_password(tmp_path):
    with Page(Device(tmp_path)) as page:
        stranger = Visitor(page, password=None)
        assert [stranger.send("/login", password=WRONG).status for _ in range(5)] == [403] * 5
        answer = stranger.send("/login", password=PASSWORD)
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert "The next one counts in" in answer.said()


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "at least 8 are needed"), ("x" * 1025, "longer than 1024"), ("", "at least 8 are needed")],
)
def test_a_password_that_is_none_is_refused_in_one_line(tmp_path, password, said):
    done = Device(tmp_path).call("web", "--set-password", input=password + "\n")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "state" / "web-password").exists()


@pytest.mark.parametrize("content", ["", "{}", "correct horse battery", '{"scheme": "plain"}', "\xff"])
def test_a_password_file_that_is_none_opens_nothing_and_says_so(tmp_path, content):
    with Page(Device(tmp_path), password=None) as page:
        with open_store(state_of(page.device)):
            (state_of(page.device) / "web-password").write_text(content)
        answer = Visitor(page, password=None).get()
        assert (answer.status, "is not what a password is stored in" in answer.said()) == (503, True)


# --- the switches ---


def test_opting_out_takes_one_press_and_stores_what_was_read(store, visitor):
    put(store)
    shown = visitor.press("/opt-out")
    assert NOTICES["opted-out"] in shown.said()
    assert wording(opt_out=True).sentence in shown.said()
    assert "Chosen today" in shown.said()
    review = store.review()
    assert (review.opt_out, review.choice) == (True, "user")
    assert store.wording() == wording(opt_out=True)
    assert [each.review.opt_out for each in store.waiting()] == [True]


def test_opting_in_asks_first_with_the_sentence_that_is_stored(store, visitor):
    store.choose(True)
    assert 'method="get" action="/opt-in"' in visitor.get().text
    question = visitor.get("/opt-in")
    assert wording(opt_out=False).sentence in question.said()
    assert store.review().opt_out
    shown = visitor.press("/opt-in", question)
    assert NOTICES["opted-in"] in shown.said()
    assert not store.review().opt_out
    assert store.wording().version == VERSION


def test_what_nobody_chose_yet_can_be_confirmed(tmp_path):
    with Page(Device(tmp_path)) as page:
        visitor = Visitor(page)
        assert "Nobody has chosen yet" in visitor.get().said()
        assert "Chosen today" in visitor.press("/opt-out").said()
        assert 'action="/opt-out"' not in visitor.get().text


def test_every_place_of_the_switch_says_that_recording_goes_on(store, visitor):
    for opt_out in (True, False):
        store.choose(opt_out)
        assert STILL_RECORDING in visitor.get().said()
    assert STILL_RECORDING in visitor.get("/opt-in").said()


def test_without_a_recorder_it_is_said_that_the_broker_learns_of_it_later(store, visitor):
    assert LATER in visitor.press("/mute").said()
    assert LATER not in visitor.get().said()


def test_mute_and_unmute_are_one_press_each(store, visitor):
    assert NOTICES["muted"] in visitor.press("/mute").said()
    assert store.muted().muted
    assert NOTICES["unmuted"] in visitor.press("/unmute").said()
    assert not store.muted().muted


def test_an_opt_in_that_is_sent_again_undoes_no_later_opt_out(store, visitor):
    store.choose(True)
    fields = visitor.get("/opt-in").hidden("/opt-in")
    assert visitor.send("/opt-in", **fields).to == "/?done=opted-in"
    visitor.press("/opt-out")
    assert visitor.send("/opt-in", **fields).to == "/?done=changed"
    assert store.review().opt_out
    assert NOTICES["changed"] in visitor.get("/?done=changed").said()


def test_an_unmute_that_is_sent_again_undoes_no_later_mute(store, visitor):
    store.set_muted(True)
    fields = visitor.get().hidden("/unmute")
    assert visitor.send("/unmute", **fields).to == "/?done=unmuted"
    store.set_muted(True)
    assert visitor.send("/unmute", **fields).to == "/?done=changed"
    assert store.muted().muted


def test_of_two_browsers_the_one_with_an_old_page_loosens_nothing(page, store, visitor):
    other = Visitor(page)
    store.choose(True)
    question = visitor.get("/opt-in")
    other.press("/opt-in", other.get("/opt-in"))
    other.press("/opt-out")
    assert NOTICES["changed"] in visitor.press("/opt-in", question).said()
    assert store.review().opt_out


# --- what waits ---


def test_what_waits_is_shown_with_time_word_length_and_tag_newest_first_and_not_without_end(store, visitor):
    put(store, 1, 16_000, wake_word="alexa")
    store.choose(True)
    for seed in range(2, SHOWN + 3):
        put(store, seed, 24_000)
    shown = visitor.get().said()
    assert f"{SHOWN + 2} requests wait for the broker." in shown
    assert "after “hey jarvis” · 1.5 s" in shown
    assert "“alexa”" not in shown
    assert "And 2 older." in shown
    store.delete([each.id for each in store.waiting()][1:])
    shown = visitor.get().said()
    assert re.search(r"One request waits.*Today, \d\d:\d\d opted out after “alexa” · 1.0 s", shown)


def test_a_waiting_request_is_played_as_it_would_be_sent_and_never_once_it_is_deleted(store, visitor):
    tag = put(store, 7).tag
    store.choose(True)
    answer = visitor.get(f"/waiting/{tag.id}.wav")
    assert (answer.status, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.headers["cache-control"] == "no-store"
    played, pcm = read_wav(answer.body)
    assert (played.id, played.review.opt_out, pcm) == (tag.id, True, pcm_of(7))
    assert NOTICES["deleted"] in visitor.press("/delete").said()
    assert store.waiting() == []
    gone = visitor.get(f"/waiting/{tag.id}.wav")
    assert (gone.status, pcm_of(7)[:64] in gone.body) == (404, False)
    fields = {"token": visitor.get().hidden("/logout")["token"], "id": tag.id}
    assert visitor.send("/delete", **fields).to == "/?done=gone"


def test_deleting_one_leaves_the_others(store, visitor):
    kept, deleted = put(store, 1).tag.id, put(store, 2).tag.id
    visitor.press("/delete")  # the newest stands first
    assert [each.id for each in store.waiting()] == [kept]
    assert visitor.get(f"/waiting/{deleted}.wav").status == 404


def test_what_was_not_for_the_device_goes_and_its_wake_words_sound_only_stays_where_that_is_wished(tmp_path):
    device = Device(tmp_path, wake="keep_sound = true\n")
    kept = state_of(device) / "not-for-me"
    with Page(device) as page, open_store(state_of(device), clock=SystemClock(), keep_wake_sound=True) as store:
        visitor, wake_pcm = Visitor(page), np.arange(4_000, dtype=np.int16)
        for seed, keep in ((1, {}), (2, {"keep": "yes"})):
            request_id = put(store, seed, wake_pcm=wake_pcm).tag.id
            shown = visitor.get().hidden("/not-for-me")
            fields = {name: shown[name] for name in ("token", "id")} | keep
            assert fields["id"] == request_id
            done = "kept" if keep else "deleted"
            assert visitor.send("/not-for-me", **fields).to == f"/?done={done}"
            assert store.count() == 0
            assert sorted(path.name for path in kept.glob("*.wav")) == ([f"{request_id}.wav"] if keep else [])
        assert visitor.send("/not-for-me", **fields).to == "/?done=gone"


def test_a_sound_is_offered_to_be_kept_only_where_there_is_one(store, visitor):
    put(store, 1)
    shown = visitor.get().body.decode()
    assert "That was not for me" in shown
    assert 'name="keep"' not in shown


def test_everything_is_deleted_by_one_form_that_stands_behind_a_disclosure(store, visitor):
    for seed in range(3):
        put(store, seed)
    shown = visitor.get()
    assert re.search(r"<details><summary>Delete everything …</summary>\s*<form", shown.text)
    assert "Deletes the 3 requests that wait." in shown.said()
    visitor.press("/delete-all", shown)
    assert store.count() == 0
    assert "Nothing waits" in visitor.get().said()


@pytest.mark.parametrize("path", [f"/waiting/{GONE}.wav", "/waiting/..%2f..%2frecorder.db.wav", "/waiting/.wav"])
def test_what_does_not_wait_is_not_there(visitor, path):
    assert visitor.get(path).status == 404


# --- what was sent ---


def send(store, *seeds):
    """Have requests sent; return what says how each stands, oldest first."""
    ids = [put(store, seed).tag.id for seed in seeds]
    drain(store)
    store.flush()

    def erasures():
        entries = {entry.id: entry.erasure for entry in store.history.entries()}
        return [entries.get(request_id, "forgotten") for request_id in ids]

    return erasures


def test_the_second_button_opts_out_and_withdraws_what_left_as_reviewable(store, visitor):
    erasures = send(store, 1, 2)
    put(store, 3)
    shown = visitor.get()
    assert "Whoever has the 2 requests that were sent as reviewable is asked to erase them." in shown.said()
    shown = visitor.press("/withdraw", shown)
    assert NOTICES["withdrawn"] in shown.said()
    assert re.search(r"Chosen today, \d\d:\d\d ; what had been sent was withdrawn today, \d\d:\d\d", shown.said())
    assert store.review().opt_out
    assert store.wording() == wording(opt_out=True)
    assert erasures() == ["asked", "asked"]
    assert [each.review.opt_out for each in store.waiting()] == [True]
    assert 'action="/withdraw"' not in visitor.get().text


def test_a_single_request_is_withdrawn_and_the_choice_stays(store, visitor):
    erasures = send(store, 1, 2)
    assert NOTICES["withdrawn-one"] in visitor.press("/withdraw-one").said()  # the newest
    assert erasures() == [None, "asked"]
    assert not store.review().opt_out
    fields = {"token": visitor.get().hidden("/logout")["token"], "id": GONE}
    assert visitor.send("/withdraw-one", **fields).to == "/?done=changed"


def test_the_list_is_forgotten_by_a_form_of_its_own_and_deleting_everything_leaves_it(store, visitor):
    erasures = send(store, 1)
    put(store, 2)
    visitor.press("/delete-all")
    assert (store.count(), erasures()) == (0, [None])
    assert "What is forgotten cannot be withdrawn any more." in visitor.get().said()
    assert NOTICES["forgotten"] in visitor.press("/forget").said()
    assert erasures() == ["forgotten"]


# --- what is not ours ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
    ],
    ids=str,
)
def test_a_form_from_elsewhere_is_refused_even_with_cookie_and_token(store, visitor, headers):
    fields = visitor.get().hidden("/opt-out")
    assert visitor.send("/opt-out", headers, **fields).status in (403, 421)
    assert not store.review().opt_out


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_the_sessions_token_is_refused(store, visitor, token):
    fields = {} if token is None else {"token": token}
    assert visitor.send("/opt-out", **fields).status == 403
    assert not store.review().opt_out


def test_a_form_of_another_session_is_refused(page, store, visitor):
    foreign = Visitor(page).get().hidden("/opt-out")
    assert visitor.send("/opt-out", **foreign).status == 403
    assert not store.review().opt_out


def test_a_form_that_breaks_off_changes_nothing(page, store, visitor):
    head = f"POST /opt-out HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nCookie: {visitor.cookie}\r\n"
    with socket.create_connection((page.host, page.port)) as sock:
        sock.sendall((head + FORM + "Content-Length: 70\r\n\r\ntoken=").encode())
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
    assert visitor.get().status == 200
    assert not store.review().opt_out


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "x y", "[::1"]
)
def test_by_another_name_nothing_is_shown_whatever_it_leads_to(visitor, host):
    assert visitor.get("/", Host=host).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "[::1]:80", "192.168.1.20", socket.gethostname()])
def test_by_its_own_names_and_addresses_it_is_found(visitor, host):
    assert visitor.get("/", Host=host).status == 200


def test_a_name_of_the_configurations_is_its_own(tmp_path):
    with Page(Device(tmp_path), 'hosts = ["privacy.lan"]') as page:
        assert Visitor(page).get("/", Host="privacy.lan:8060").status == 200


LOGIN = "POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nConnection: close\r\n"
WEBSOCKET = """GET / HTTP/1.1
Host: localhost
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==

""".replace("\n", "\r\n")
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"400"),  # a browser that wants TLS
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 600_000 + b"\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 600_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"405"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET /opt-out HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET /no/such HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (WEBSOCKET.encode(), b"303"),
        ((LOGIN + FORM + "Content-Length: 100000\r\n\r\n").encode() + b"x" * 100_000, b"413"),
        ((LOGIN + FORM + "Transfer-Encoding: chunked\r\n\r\n").encode() + b"8000\r\n" + b"x" * 0x8000, b"413"),
        ((LOGIN + FORM + "Content-Length: -1\r\n\r\n").encode(), b"400"),
        ((LOGIN + FORM + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n").encode() + b"0\r\n\r\n", b"403"),
        ((LOGIN + "Content-Type: text/plain\r\nContent-Length: 10\r\n\r\n").encode() + b"password=x", b"415"),
        ((LOGIN + FORM + "Content-Length: 21\r\n\r\n").encode() + b"password=a&password=b", b"400"),
        ((LOGIN + FORM + "Content-Length: 12\r\n\r\n").encode() + b"password=%ff", b"400"),
        ((LOGIN + FORM + "Content-Length: 9\r\n\r\n").encode() + b"password\xff", b"400"),
    ],
    ids=lambda value: value[:60].decode("latin-1") if isinstance(value, bytes) else None,
)  # fmt: skip
def test_odd_http_is_refused_and_the_next_is_answered(page, content, status):
    answer = page.raw(content)
    # Empty where it has ended the connection before it has read, or we have sent, all of it.
    assert not answer or answer.split(b" ")[1] == status, answer[:200]
    assert answer or len(content) > 30_000
    assert page.ask("GET", "/login").status in (200, 303)


def test_more_connections_than_it_takes_are_turned_away_and_those_that_wait_in_vain_harm_nobody(page):
    idle = [socket.create_connection((page.host, page.port)) for _ in range(40)]
    try:
        await_true(lambda: page.ask("GET", "/login").status == 503, "it takes all of them")
    finally:
        for one in idle:
            one.close()
    await_true(lambda: page.ask("GET", "/login").status == 200, "it never took one again")


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_that_stands_in_the_page(store, visitor):
    send(store, *range(SHOWN))
    for seed in range(SHOWN):
        put(store, seed)
    weight = 0
    for path in ("/", "/opt-in", "/login"):
        shown = Visitor(visitor.page, password=None).get(path) if path == "/login" else visitor.get(path)
        policy = shown.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (shown.headers["x-content-type-options"], shown.headers["cache-control"]) == ("nosniff", "no-store")
        assert not re.search(r"<script(?! src=)|<style|\son\w+=|\sstyle=|javascript:", shown.text)
        links = re.findall(r'(?:src|href|action)="([^"]*)"', shown.text)
        assert links
        assert all(re.match(r"/(?!/)", link) for link in links)
        weight = max(weight, len(shown.body))
    for path in set(re.findall(r'(?:src|href)="(/(?:page|icon)\.[^"]*)"', visitor.get().text)):
        file = visitor.get(path)
        assert (file.status, "immutable" in file.headers["cache-control"]) == (200, True)
        assert b"http" not in file.body.replace(b"http://www.w3.org/2000/svg", b"")
        weight += len(file.body)
    assert weight < 60_000


# --- the process ---


def test_it_ends_when_nobody_uses_it_whatever_connection_is_open_and_the_next_start_knows_the_session(tmp_path):
    with Page(Device(tmp_path), "idle_s = 1") as page:
        visitor = Visitor(page)
        with socket.create_connection((page.host, page.port)):
            assert end_of(page.process, 30) == 0
        page.start()
        assert visitor.get().status == 200
        assert end_of(page.process, 30) == 0


def test_while_somebody_uses_it_it_goes_on(tmp_path):
    with Page(Device(tmp_path), "idle_s = 3") as page:
        visitor = Visitor(page)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert visitor.get("/live").status == 200
        assert page.process.poll() is None


def test_systemd_is_told_that_it_serves_and_that_it_goes_on(tmp_path):
    device = Device(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        device.env |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with Page(device):
            assert manager.recv(100) == b"READY=1"
            assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3


def test_it_holds_no_microphone_and_loads_nothing_that_could(page, visitor):
    visitor.get()
    process = Path("/proc") / str(page.process.pid)
    opened = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a connection that has just ended
            opened.append(str(file.readlink()))
    assert not [name for name in opened if "/dev/snd" in name or "pulse" in name]
    mapped = (process / "maps").read_text()
    assert not re.search(r"portaudio|asound|onnxruntime|libpulse", mapped)


def test_by_hand_it_says_where_it_is_and_ends_with_a_signal(tmp_path):
    device = Device(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        device.config.write_text(device.config.read_text() + f'[web]\nlisten = "127.0.0.1:{port}"\nidle_s = 1\n')
        done = device.call("web")
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: [web] listen = '127.0.0.1:{port}': Address already in use; ")
    process = subprocess.Popen(device.command("web"), env=device.env, stderr=subprocess.PIPE, text=True)
    assert f"the privacy page: http://127.0.0.1:{port}/" in process.stderr.readline()
    await_true(lambda: answers(port), "nobody answers")
    process.terminate()
    assert (process.wait(30), process.stderr.read()) == (0, "")


def answers(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/login")
        return connection.getresponse().status == 403
    except OSError:
        return False


# --- beyond this device ---


def test_beyond_this_device_it_is_not_served_without_tls(tmp_path):
    with Page(Device(tmp_path), host="0.0.0.0") as page:  # noqa: S104
        assert end_of(page.process, 60) == 78
        said = page.process.stderr.read()
        assert "beyond this device, without TLS" in said
        assert said.count("\n") == 1


def test_with_a_certificate_it_is_and_the_cookie_never_goes_another_way(tmp_path):
    certificates = make_certificates(tmp_path)
    lines = (f'cert_file = "{certificates.certificate("server")}"', f'key_file = "{certificates.key("server")}"')
    with Page(Device(tmp_path), *lines, host="0.0.0.0", tls=certificates.ca) as page:  # noqa: S104
        page.host = "127.0.0.1"
        visitor = Visitor(page)
        assert visitor.cookie.startswith("__Host-session=")
        assert "Chosen today" in visitor.press("/opt-out").said()
        answer = Visitor(page, password=None).send("/login", password=PASSWORD)
        assert "; Secure" in answer.headers["set-cookie"]


def test_a_certificate_that_is_none_is_said_in_one_line(tmp_path):
    device = Device(tmp_path)
    for name in ("cert", "key"):
        (tmp_path / f"{name}.pem").write_text("none")
    device.config.write_text(device.config.read_text() + '[web]\ncert_file = "cert.pem"\nkey_file = "key.pem"\n')
    done = device.call("web")
    assert done.returncode == 78
    assert "expected two PEM files that belong together" in done.stderr
    assert done.stderr.count("\n") == 1


def test_behind_a_proxy_the_tries_of_one_address_keep_no_other_out(tmp_path):
    with Page(Device(tmp_path), "behind_proxy = true", host="0.0.0.0") as page:  # noqa: S104
        page.host = "127.0.0.1"
        stranger = Visitor(page, password=None)

        def login(address, password):
            headers = {"Origin": f"https://127.0.0.1:{page.port}", "X-Forwarded-For": address}
            return stranger.send("/login", headers, password=password)

        assert [login("1.1.1.1, 10.0.0.1", WRONG).status for _ in range(6)] == [403] * 5 + [429]
        assert login("10.0.0.1", PASSWORD).status == 429
        answer = login("10.0.0.1, 10.0.0.2", PASSWORD)
        assert answer.status == 303
        assert answer.headers["set-cookie"].startswith("__Host-session=")


# --- what breaks while it is open ---


def test_a_database_that_breaks_while_the_page_is_open_is_an_opt_out_until_somebody_chooses(tmp_path):
    device = Device(tmp_path)
    with Page(device) as page:
        visitor = Visitor(page)
        visitor.press("/opt-in", visitor.get("/opt-in"))
        with (state_of(device) / DATABASE).open("r+b") as file:
            file.write(np.random.default_rng(1).bytes(16_384))
        read_anew(state_of(device))
        shown = visitor.get()
        assert "What was chosen cannot be read, so the strictest counts." in shown.said()
        assert 'method="get" action="/opt-in"' in shown.text
        assert "Chosen today" in visitor.press("/opt-out").said()


def fill(ballast):
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.fixture
def disk(tmp_path):
    """A small one for the state folder alone."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk to fill")
def test_on_a_full_disk_what_tightens_works_and_so_does_deleting(disk):
    with Page(Device(disk)) as page:
        visitor = Visitor(page)
        with open_store(state_of(page.device)) as store:
            put(store)
        visitor.press("/opt-in", visitor.get("/opt-in"))
        fill(disk / "ballast")
        assert NOTICES["opted-out"] in visitor.press("/opt-out").said()
        assert NOTICES["muted"] in visitor.press("/mute").said()
        assert NOTICES["deleted"] in visitor.press("/delete-all").said()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_on_a_disk_that_cannot_be_written_it_says_so_and_works_once_it_can_be(disk):
    page = Page(Device(disk))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with page:
        visitor = Visitor(page)
        shown = visitor.get()
        assert (shown.status, "the database cannot be written" in shown.said()) == (503, True), shown.said()
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert visitor.get().status == 200


def test_what_did_not_happen_is_said_above_how_it_is_now(store, visitor):
    put(store)
    shown = visitor.send("/delete", token=visitor.get().hidden("/logout")["token"])
    assert shown.status == 503
    assert 'role="alert">Not done: nothing is named' in shown.text
    assert "One request waits" in shown.said()


# --- the recorder ---


def test_the_page_shows_what_the_recorder_does_and_how_loud_it_is(tmp_path):
    noise = np.random.default_rng(2).integers(-9000, 9000, 640_000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    with virtual_microphone() as room, Page(Device(tmp_path)) as page:
        visitor = Visitor(page)
        assert visitor.get("/live").text == '{"kind":"off","says":"The recorder is not running","level_dbfs":null}'
        with Daemon(page.device, env=room.settings) as daemon:
            daemon.wait_for("microphone-listening")
            assert "Listening for the wake word" in visitor.get().said()
            with room.playing(tmp_path / "noise.wav"):
                await_true(lambda: re.search(r'"level_dbfs":-1\d\.', visitor.get("/live").text), "it stays quiet")
            visitor.press("/mute")
            daemon.wait_for("microphone-muted")
            assert visitor.get("/live").text == '{"kind":"off","says":"Muted","level_dbfs":null}'
            assert daemon.stop() == 0
