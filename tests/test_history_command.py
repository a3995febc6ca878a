"""``history`` and ``review opt-out --withdraw`` as people use them, with the real daemon and broker."""

import json
from pathlib import Path

import pytest
from support.broker import Broker, listening
from support.daemon import Device

REQUEST = Path(__file__).parent / "fixtures" / "hey-jarvis-request.wav"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def sent(tmp_path, broker):
    """A device that has sent a reviewable request and an opted-out one to somebody."""
    device = Device(tmp_path, broker.port)
    device.call("review", "opt-in", "--yes")
    with listening(broker.port, "wakeword/kitchen/#"):
        device.hear(REQUEST)
        device.call("review", "opt-out")
        device.hear(REQUEST)
    return device


def entries(device):
    return [json.loads(line) for line in device.call("history", "list", "--json").stdout.splitlines()]


def test_what_was_sent_is_listed_newest_first_for_people_and_for_programs(sent):
    private, reviewable = entries(sent)
    assert (private["opt_out"], reviewable["opt_out"]) == (True, False)
    assert set(private) == {"id", "captured_at", "sent_at", "wake_word", "duration_s", "opt_out", "erasure"}
    done = sent.call("history", "list")
    first, second = done.stdout.splitlines()
    assert first == f"{private['id']}  {private['sent_at']}    {private['duration_s']:.1f} s  opted out   hey_jarvis"
    assert "reviewable  hey_jarvis" in second
    assert done.stderr == "2 requests sent\n"


def test_a_withdrawal_reaches_the_broker_with_the_daemon_and_the_state_says_so(sent, broker):
    _, reviewable = entries(sent)
    done = sent.call("review", "opt-out", "--withdraw")
    assert "1 request sent as reviewable withdrawn: whoever has them is asked to erase them." in done.stdout
    assert "to be withdrawn" in sent.call("history", "list").stdout.splitlines()[1]
    with listening(broker.port, "wakeword/kitchen/#") as listener:
        sent.hear(REQUEST)
        state = json.loads(listener.next("kitchen/review").payload)
        assert json.loads(listener.next("kitchen/erase").payload) == {"schema": 1, "ids": [reviewable["id"]]}
    assert state["withdrawn_at"] >= state["changed_at"]
    assert [entry["erasure"] for entry in entries(sent)] == [None, None, "told"]
    assert sent.call("review", "opt-out", "--withdraw").stdout.splitlines()[-1].startswith("0 requests")


def test_a_withdrawal_is_told_by_outbox_send_where_no_daemon_runs_once_somebody_listens(sent, broker):
    _, reviewable = entries(sent)
    sent.call("review", "opt-out", "--withdraw")
    alone = sent.call("outbox", "send")
    assert (alone.returncode, "nobody is subscribed" in alone.stderr) == (69, True)
    with listening(broker.port, "wakeword/kitchen/erase") as listener:
        assert sent.call("outbox", "send").returncode == 0
        assert json.loads(listener.next().payload)["ids"] == [reviewable["id"]]
    assert sent.call("outbox", "send").returncode == 0


def test_one_request_is_withdrawn_by_its_id_and_one_that_nobody_sent_is_refused(sent):
    private, _ = entries(sent)
    refused = sent.call("history", "withdraw", private["id"], "0190a5b2-0000-7000-8000-000000000000")
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: the history has no request '0190a5b2-0000-7000-8000-000000000000'; nothing was withdrawn\n"
    )
    assert entries(sent)[0]["erasure"] is None
    assert sent.call("history", "withdraw", private["id"]).stdout.startswith("1 request withdrawn")
    assert entries(sent)[0]["erasure"] == "asked"


def test_it_is_forgotten_when_asked_for(sent):
    assert sent.call("history", "clear").stdout == "2 requests forgotten\n"
    assert entries(sent) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("history", "withdraw"), "withdraw takes the ids of requests; `wakeword-recorder history list` shows them"),
        (("history", "clear", "--json"), "--json only goes with list"),
        (("history", "list", "x"), "an id only goes with withdraw"),
        (("review", "status", "--withdraw"), "--withdraw only goes with opt-out"),
    ],
)
def test_what_does_not_belong_together_is_one_line_and_status_2(tmp_path, arguments, complaint):
    done = Device(tmp_path).call(*arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {complaint}\n")


def test_a_history_of_no_days_has_nothing(tmp_path, broker):
    device = Device(tmp_path, broker.port, history="days = 0\n")
    with listening(broker.port, "wakeword/kitchen/#"):
        device.hear(REQUEST)
    assert entries(device) == []
