"""Commands over MQTT are obeyed at a bounded pace, none is skipped, and what is not obeyed is reported by its kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outbox import BASE
from support.sending import link_to

from device.daemon.remote import KEPT_S, LEFT_OUT_S, PACE_S, TRIAL_S, RemoteCommands
from device.edges.mqtt import Arrived
from device.errors import CommandRefusedError, StoreBusyError
from device.message.commands import Action, Command
from device.sending.repeats import Repeats

REVIEW, MICROPHONE, WAKE = f"{BASE}/review/set", f"{BASE}/microphone/set", f"{BASE}/wake/set"


@dataclass
class Subscriptions:
    """What a connection was asked to subscribe to, and no longer."""

    asked: list[list[str]] = field(default_factory=list)
    ended: list[list[str]] = field(default_factory=list)

    def subscribe(self, topics: list[str]) -> int:
        self.asked.append(topics)
        return 1

    def unsubscribe(self, topics: list[str]) -> None:
        self.ended.append(topics)


class Afar:
    """Commands under test: what they obeyed, and when, and what they reported at ``now``."""

    def __init__(self, **link: Any) -> None:
        self.now = 100.0
        self.executed: list[tuple[float, Action]] = []
        self.connection = Subscriptions()
        self.reported: list[tuple[str, dict[str, Any]]] = []
        self._repeats = Repeats()
        self.commands = RemoteCommands(link_to(1, **link), self.execute, self.report)

    def execute(self, command: Command) -> None:
        self.executed.append((self.now, command.action))

    def report(self, name: str, *, repeats: tuple[str, ...], **fields: Any) -> None:
        if self._repeats.count(repeats, self.now):
            self.reported.append((name, fields))

    def say(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        self.commands.arrived(Arrived(topic, payload, retained))
        self.commands.execute_due(self.connection, self.now)


def test_a_command_is_obeyed_at_once_and_ten_thousand_of_them_once_a_second():
    afar = Afar()
    for _ in range(30_000):
        afar.say(REVIEW, b"opt-out")
        afar.now += 0.0001
    assert [command for _, command in afar.executed] == [Action.OPT_OUT] * 3
    assert [at for at, _ in afar.executed] == pytest.approx([100, 100 + PACE_S, 100 + 2 * PACE_S], abs=0.01)
    assert afar.commands.next_at() <= afar.now + PACE_S


def test_a_flood_on_one_topic_does_not_delay_a_command_on_the_other():
    afar = Afar()
    for _ in range(100):
        afar.say(REVIEW, b"opt-out")
    afar.say(MICROPHONE, b"mute")
    assert [command for _, command in afar.executed] == [Action.OPT_OUT, Action.MUTE]


@given(st.lists(st.sampled_from([b"opt-out", b"opt-in 3"]), min_size=1, max_size=12), st.floats(0, 0.4))
def test_whatever_the_pace_each_is_obeyed_after_it_was_asked_for_and_the_last_one_last(words, gap_s):
    afar = Afar(allow_remote_opt_in=True)
    asked_at = {}
    for word in words:
        afar.now += gap_s
        asked_at[word] = afar.now
        afar.say(REVIEW, word)
    afar.now += PACE_S
    afar.commands.execute_due(afar.connection, afar.now)
    executed_at = {{"opt-in": b"opt-in 3"}.get(action.value, b"opt-out"): at for at, action in afar.executed}
    assert afar.executed[-1][1].value.encode() == words[-1][:7].rstrip()
    assert all(executed_at[word] >= at for word, at in asked_at.items())


def test_what_was_asked_for_last_is_obeyed_also_where_the_connection_ends_before_its_turn():
    afar = Afar()
    afar.say(MICROPHONE, b"mute")
    afar.say(MICROPHONE, b"mute")
    afar.commands.execute_rest()
    assert [command for _, command in afar.executed] == [Action.MUTE] * 2
    afar.commands.execute_rest()
    assert len(afar.executed) == 2


def test_ten_thousand_different_words_that_are_no_command_are_reported_once_for_each_kind():
    afar = Afar()
    for number in range(10_000):
        afar.say(REVIEW, b"garbage %d" % number)
        afar.say(REVIEW, b"opt-in")
        afar.say(MICROPHONE, b"unmute")
    assert len(afar.reported) == 3
    assert not afar.executed


def test_a_flood_about_wake_words_is_obeyed_once_a_second_for_each_and_what_is_wrong_said_once_for_each_kind():
    words = ("hey_jarvis", "alexa")
    afar = Afar(wake_words=words)
    for number in range(10_000):
        for word in (*words, "all"):
            afar.say(WAKE, f"threshold {word} 0.{1 + number % 9}".encode())
            afar.say(WAKE, f"listen {word}".encode())
        for wrong in (f"listen {number}", f"threshold all {number + 2}", f"{number}"):
            afar.say(WAKE, wrong.encode())
        afar.say(WAKE, b"listen all", retained=True)
        afar.now += 0.00015
    assert len(afar.executed) == 1 + len((*words, "all")) * 2  # at once, then what was asked for last
    assert len(afar.reported) == 4
    assert len(afar.connection.asked) == 0


def test_what_is_asked_of_two_wake_words_at_once_is_obeyed_of_both_in_order():
    obeyed = []
    afar = Afar(wake_words=("hey_jarvis", "alexa"))
    afar.commands = RemoteCommands(link_to(1, wake_words=("hey_jarvis", "alexa")), obeyed.append, afar.report)
    said = [b"threshold hey_jarvis 0.6", b"threshold alexa 0.7", b"listen alexa"]
    for one in said:
        afar.commands.arrived(Arrived(WAKE, one, False))
    afar.commands.execute_due(afar.connection, afar.now)
    assert [command.payload for command in obeyed] == said


def test_a_command_that_fails_is_reported_once_however_its_error_reads():
    afar = Afar()

    def fail(command):
        raise StoreBusyError(f"disk full at {afar.now}")

    afar.commands = RemoteCommands(link_to(1), fail, afar.report)
    for _ in range(5):
        afar.say(REVIEW, b"opt-out")
        afar.now += PACE_S
    assert [name for name, _ in afar.reported] == ["command-failed"]


class TestWhatTheBrokerKeeps:
    def test_after_a_live_command_the_topic_is_subscribed_to_once_more_since_the_broker_may_keep_it(self):
        afar = Afar()
        afar.commands.begin(afar.connection, afar.now)
        afar.say(MICROPHONE, b"mute")
        assert afar.connection.asked == [[REVIEW, MICROPHONE], [MICROPHONE]]
        afar.now += PACE_S
        afar.say(MICROPHONE, b"mute", retained=True)
        afar.now += PACE_S
        afar.say(MICROPHONE, b"mute")  # that one is known to be kept
        assert len(afar.connection.asked) == 2
        assert [action for _, action in afar.executed] == [Action.MUTE] * 3

    def test_what_is_asked_for_beside_the_choice_is_not_looked_for_among_what_is_kept(self):
        afar = Afar(birth_topic="homeassistant/status")
        afar.commands.begin(afar.connection, afar.now)
        afar.say("homeassistant/status", b"online")
        afar.say(f"{BASE}/health/set", b"check")
        afar.now += KEPT_S
        afar.commands.tick(afar.connection, afar.now)
        assert [topics[-1] for topics in afar.connection.asked] == ["homeassistant/status"]
        cleared = [Action.CLEARED] * 2
        assert [action for _, action in afar.executed] == [Action.BIRTH, Action.CHECK, *cleared]

    def test_a_kept_command_takes_nothing_away_from_a_live_one(self):
        afar = Afar()
        afar.commands.begin(afar.connection, afar.now)
        for retained in (False, True):
            afar.commands.arrived(Arrived(MICROPHONE, b"mute", retained))
        afar.commands.execute_due(afar.connection, afar.now)
        assert len(afar.executed) == 2

    def test_a_flood_of_live_commands_asks_at_the_same_pace_and_not_while_stopping(self):
        afar = Afar()
        afar.commands.begin(afar.connection, afar.now)
        for _ in range(25_000):
            afar.say(REVIEW, b"opt-out")
            afar.now += 0.0001
        assert len(afar.connection.asked) == 1 + 3
        afar.commands.end(afar.connection)
        afar.now += PACE_S
        afar.say(REVIEW, b"opt-out")
        assert len(afar.connection.asked) == 1 + 3

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_topic_that_brings_nothing_for_a_while_keeps_nothing(self, kept):
        afar = Afar()
        afar.commands.begin(afar.connection, afar.now)
        if kept:
            afar.say(REVIEW, b"opt-out", retained=True)
        afar.now += KEPT_S
        afar.commands.tick(afar.connection, afar.now)
        cleared = [action for _, action in afar.executed if action is Action.CLEARED]
        assert len(cleared) == 2 - kept
        afar.commands.tick(afar.connection, afar.now + KEPT_S)
        assert len(afar.executed) == 2

    def test_one_that_is_not_obeyed_again_is_reported_with_how_to_delete_it(self):
        afar = Afar()

        def refuse(command):
            raise CommandRefusedError("it counted once")

        afar.commands = RemoteCommands(link_to(1), refuse, afar.report)
        afar.say(MICROPHONE, b"mute", retained=True)
        ((name, fields),) = afar.reported
        assert name == "command-ignored"
        assert f"a retained mute stands on {MICROPHONE}: it counted once" in fields["problem"]
        assert f"mosquitto_pub -h 127.0.0.1 -p 1 -r -n -t {MICROPHONE}" in fields["problem"]


class TestATopicWithAnOversizedMessage:
    def test_all_topics_are_subscribed_to_at_once_as_long_as_nothing_happened(self):
        afar, connection = Afar(), Subscriptions()
        afar.commands.begin(connection, afar.now)
        assert connection.asked == [[REVIEW, MICROPHONE]]

    def test_the_one_that_brings_it_is_left_out_for_some_minutes_and_the_other_heard(self):
        afar = Afar()
        afar.commands.begin(Subscriptions(), afar.now)
        afar.commands.oversized(afar.now)
        assert not afar.reported  # nobody knows yet which one it is

        afar.commands.begin(second := Subscriptions(), afar.now)
        assert second.asked == [[REVIEW]]
        afar.commands.oversized(afar.now)
        ((name, fields),) = afar.reported
        assert name == "commands-unheard"
        assert f"mosquitto_pub -r -n -t {REVIEW}" in fields["problem"]

        afar.commands.begin(third := Subscriptions(), afar.now)
        for _ in range(100):
            afar.now += 1
            afar.commands.tick(third, afar.now)
        assert third.asked == [[MICROPHONE]]
        afar.now += LEFT_OUT_S
        afar.commands.tick(third, afar.now)
        assert third.asked == [[MICROPHONE], [REVIEW]]

    def test_one_that_was_not_retained_leaves_no_topic_out(self):
        afar = Afar()
        for _ in range(2):
            afar.commands.begin(connection := Subscriptions(), afar.now)
            for _ in range(30):
                afar.now += 1
                afar.commands.tick(connection, afar.now)
            afar.commands.oversized(afar.now)
        assert connection.asked == [[REVIEW], [MICROPHONE]]
        assert not afar.reported

    def test_the_second_waits_until_the_first_has_shown_what_it_brings(self):
        afar = Afar()
        afar.commands.oversized(afar.now)
        afar.commands.begin(connection := Subscriptions(), afar.now)
        afar.commands.tick(connection, afar.now + TRIAL_S / 2)
        assert connection.asked == [[REVIEW]]
        afar.commands.tick(connection, afar.now + TRIAL_S)
        assert connection.asked == [[REVIEW], [MICROPHONE]]

    def test_at_the_end_nothing_is_heard_any_more(self):
        afar, connection = Afar(), Subscriptions()
        afar.commands.oversized(afar.now)
        afar.commands.begin(connection, afar.now)
        afar.commands.end(connection)
        afar.commands.tick(connection, afar.now + 10 * TRIAL_S)
        assert (connection.asked, connection.ended) == ([[REVIEW]], [[REVIEW, MICROPHONE]])
