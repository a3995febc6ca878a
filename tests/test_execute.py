"""Commands over MQTT against a newer choice on the device: a kept one counts once, an opt-in changes what it names."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.broker import Broker, Listener, await_true
from support.daemon import Daemon, Device
from support.outbox import BASE
from support.sending import Sending, link_to
from support.stores import open_store, put

from device.daemon.execute import execute
from device.daemon.remote import KEPT_S
from device.edges.store import Retained
from device.errors import CommandRefusedError
from device.events import Events
from device.message.commands import Action, Command, place_of
from device.message.review import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.edges.store import Store

FIXTURES = Path(__file__).parent / "fixtures"
REVIEW, MICROPHONE = f"{BASE}/review/set", f"{BASE}/microphone/set"


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def user(broker) -> Iterator[Listener]:
    """Somebody who publishes commands; nothing is kept afterwards."""
    with Listener(broker.port) as user:
        yield user
        for topic in (REVIEW, MICROPHONE):
            user.publish(topic, b"", retain=True)


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with open_store(tmp_path / "state") as store:
        store.choose(False)
        yield store


class Connected(Sending):
    """A device's sender that obeys on a real store; each block is a connection of its own."""

    def __init__(self, broker: Broker, store: Store, **changes: Any) -> None:
        link = link_to(broker.port, **changes)
        super().__init__(link, on_command=partial(self.carry_out, store))
        self.carried_out: list[Command] = []

    def carry_out(self, store: Store, command: Command) -> None:
        try:
            execute(store, Events(), self.link, command)
        finally:
            self.carried_out.append(command)

    def executed(self, action: Action, *, retained: bool) -> None:
        await_true(lambda: any((one.action, one.retained) == (action, retained) for one in self.carried_out))


def switch(store: Store, topic: str) -> tuple[Callable[[], bool], Callable[[], object], Action, bytes]:
    """Return what tells whether it is tight, what loosens it, the action and the payload, of one of the two topics."""
    if topic == REVIEW:
        return lambda: store.review().opt_out, lambda: store.choose(False), Action.OPT_OUT, b"opt-out"
    return lambda: store.muted().muted, lambda: store.set_muted(False), Action.MUTE, b"mute"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("topic", [REVIEW, MICROPHONE])
def test_a_kept_command_counts_once_and_not_after_a_newer_choice_on_the_device(broker, user, store, topic, protocol):
    tight, loosen, action, payload = switch(store, topic)
    user.publish(topic, payload, retain=True)
    with Connected(broker, store, protocol=protocol) as device:
        device.executed(action, retained=True)
        assert tight()
    loosen()
    for _ in range(2):
        with Connected(broker, store, protocol=protocol) as device:
            device.executed(action, retained=True)
            assert not tight()
            problem = device.awaited("command-ignored")["problem"]
            assert f"stands on {topic}" in problem
            assert f"mosquitto_pub -h 127.0.0.1 -p {broker.port} -r -n -t {topic}" in problem
            user.publish(topic, payload)  # a live one is always obeyed
            await_true(tight)
        loosen()


@pytest.mark.parametrize("topic", [REVIEW, MICROPHONE])
def test_one_that_came_live_and_is_kept_has_counted(broker, user, store, topic):
    tight, loosen, action, payload = switch(store, topic)
    with Connected(broker, store) as device:
        device.connected()
        await_true(lambda: user.publish(topic, payload, retain=True) == 0)
        device.executed(action, retained=True)  # by asking the broker
        assert tight()
    loosen()
    with Connected(broker, store) as device:
        device.executed(action, retained=True)
        assert not tight()


@pytest.mark.parametrize("topic", [REVIEW, MICROPHONE])
def test_one_that_came_live_and_is_not_kept_leaves_a_later_kept_one_its_effect(broker, user, store, topic):
    tight, loosen, action, payload = switch(store, topic)
    with Connected(broker, store) as device:
        device.connected()
        await_true(lambda: user.publish(topic, payload) == 0)
        await_true(tight)
    loosen()
    user.publish(topic, payload, retain=True)
    with Connected(broker, store) as device:
        device.executed(action, retained=True)
        assert tight()


@pytest.mark.parametrize("topic", [REVIEW, MICROPHONE])
def test_one_that_was_deleted_and_published_again_counts_again(broker, user, store, topic):
    tight, loosen, action, payload = switch(store, topic)
    user.publish(topic, payload, retain=True)
    with Connected(broker, store) as device:
        device.executed(action, retained=True)
        user.publish(topic, b"", retain=True)
        device.executed(Action.CLEARED, retained=False)
    loosen()
    user.publish(topic, payload, retain=True)
    with Connected(broker, store) as device:
        device.executed(action, retained=True)
        assert tight()


def test_one_that_was_deleted_while_the_device_was_away_is_known_to_be_gone_once_nothing_came(broker, user, store):
    user.publish(REVIEW, b"opt-out", retain=True)
    with Connected(broker, store) as device:
        device.executed(Action.OPT_OUT, retained=True)
    user.publish(REVIEW, b"", retain=True)
    store.choose(False)
    with Connected(broker, store) as device:
        await_true(lambda: [one for one in device.carried_out if one.level == "review/set"], timeout_s=KEPT_S + 10)
    user.publish(REVIEW, b"opt-out", retain=True)
    with Connected(broker, store) as device:
        device.executed(Action.OPT_OUT, retained=True)
        assert store.review().opt_out


def test_a_kept_command_that_changes_nothing_is_said_once(tmp_path, store):
    events = []
    said = lambda *arguments, **fields: events.append(arguments[0])  # noqa: E731
    command = Command(Action.OPT_OUT, "review/set", b"opt-out", retained=True)
    for _ in range(3):
        execute(store, said, link_to(1), command)
    assert events == ["command"]


def test_another_payload_or_another_broker_s_command_counts(store):
    one = Retained("broker:1883/a/review/set", b"opt-out")
    for kept in (one, Retained(one.place, b"opt-out "), Retained("other:1883/a/review/set", b"opt-out")):
        assert store.choose(True, retained=kept).changed
        store.choose(False)
        with pytest.raises(CommandRefusedError):
            store.choose(True, retained=kept)
        assert not store.review().opt_out


def test_that_a_command_counted_is_stored_with_what_it_changed(tmp_path):
    kept = Retained("broker:1883/a/review/set", b"opt-out")
    with open_store(tmp_path) as store:
        put(store)
        assert store.choose(True, retained=kept).retagged == 1
    with open_store(tmp_path) as store:
        assert store.retained_command(kept.place) == b"opt-out"
        assert store.review().opt_out
        store.forget_retained(kept.place)
        assert store.retained_command(kept.place) is None


@pytest.mark.parametrize(
    ("level", "payload", "loosen"),
    [("review/set", b"opt-out", ("review", "opt-in", "--yes")), ("microphone/set", b"mute", ("microphone", "unmute"))],
)
def test_the_command_that_loosens_says_that_the_contrary_stands_on_the_broker(
    tmp_path, broker, user, level, payload, loosen
):
    device = Device(tmp_path, broker.port)
    topic = f"wakeword/kitchen/{level}"
    user.publish(topic, payload, retain=True)
    with Daemon(device, "--input", FIXTURES / "near-misses.wav", "--pace", "realtime") as daemon:
        daemon.wait_for("command")
        done = device.call(*loosen)
        assert done.returncode == 0
        assert f"warning: a retained {payload.decode()} stands on {topic}" in done.stderr
        assert f"mosquitto_pub -h 127.0.0.1 -p {broker.port} -r -n -t {topic}" in done.stderr
        user.publish(topic, b"", retain=True)
        with open_store(tmp_path / "state") as store:
            await_true(lambda: store.retained_command(place_of(f"127.0.0.1:{broker.port}", topic)) is None)
        assert "retained" not in device.call(*loosen).stderr
        daemon.stop()


# Opting in


def test_an_opt_in_is_obeyed_once_and_its_repetition_undoes_no_later_opt_out(broker, user, store):
    store.choose(True)
    revision = store.review().revision
    with Connected(broker, store, allow_remote_opt_in=True) as device:
        device.connected()
        await_true(lambda: user.publish(REVIEW, b"opt-in %d" % revision) == 0)
        await_true(lambda: not store.review().opt_out)
        store.choose(True)
        user.publish(REVIEW, b"opt-in %d" % revision)
        problem = device.awaited("command-ignored")["problem"]
        assert f"opt-in {revision} means to change revision {revision}" in problem
        assert f"`opt-in {revision + 2}`" in problem
        assert store.review().opt_out


@pytest.mark.parametrize("revision", [0, 1, 3, 10**17])
def test_an_opt_in_that_names_another_revision_changes_nothing(store, revision):
    before = store.choose(True).review
    assert before.revision == 2
    with pytest.raises(CommandRefusedError):
        store.choose(False, revision=revision)
    assert store.review() == before
    assert not store.choose(False, revision=2).review.opt_out


def test_while_nobody_chose_the_revision_is_0(tmp_path):
    with open_store(tmp_path, default_opt_out=True) as store:
        assert not store.choose(False, revision=0).review.opt_out


def test_a_choice_that_cannot_be_read_is_changed_on_the_device_only(tmp_path, store):
    (tmp_path / "state" / "chosen-1-reviewable").unlink()
    assert store.review() == unreadable()
    for revision in (0, 1):
        with pytest.raises(CommandRefusedError, match="on the device"):
            store.choose(False, revision=revision)
    assert store.review() == unreadable()
