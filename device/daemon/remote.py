"""Commands from afar: heard, executed at a bounded pace, and those that are ignored reported by their kind.

Whoever may write to a command's topic may write there ten thousand times a second. Each of these costs its reading;
what follows from them (a transaction, a line of the log, an event, a state) happens once a second at most.

They may also leave a message of 200 MB there. With MQTT 5 the broker is asked not to send it. In 3.1.1 the connection
ends as it begins, each time anew where the broker has retained it; so from then on the topics are subscribed to one
after the other, and the one whose subscription brings it is left out for some minutes.

A command that the broker keeps comes again with every connection. It counts once: the store notes it. A message that
comes live does not say whether it is kept, so the topic is subscribed to once more after it, which brings what is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from device.errors import CommandRefusedError, RecorderError
from device.message import commands
from device.message.commands import Action, Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.edges.mqtt import Arrived, Connection, LinkSettings

PACE_S = 1.0  # how often the commands of one topic are executed
TRIAL_S = 2.0  # how soon after a subscription a retained message comes
LEFT_OUT_S = 600.0  # how long a topic with such a message is left out
KEPT_S = 10.0  # how long after a subscription what the broker keeps has surely come
_Key = tuple[Action, bool, str]  # of a command that takes the place of the same one: also retained, and the word


class RemoteCommands:
    """Used by the sender's thread only.

    Args:
        link: where commands come from, and whether opting in is one.
        execute: carries a command out.
        report: takes an event, its ``repeats=`` and its fields.
    """

    def __init__(self, link: LinkSettings, execute: Callable[[Command], None], report: Callable[..., None]) -> None:
        self._link = link
        self._execute = execute
        self._report = report
        self._asked: dict[str, dict[_Key, Command]] = {level: {} for level in link.command_topics}
        self._levels = {topic: level for level, topic in link.command_topics.items()}
        self._executed_at = dict.fromkeys(self._asked, -math.inf)
        self._one_at_a_time = False  # subscribe to the topics one after the other
        self._unsubscribed: list[str] = []  # the levels not subscribed to on this connection
        self._left_out_until = dict.fromkeys(self._asked, -math.inf)
        self._tried: str | None = None  # the level subscribed to last, where it was by itself
        self._tried_at = -math.inf
        self._listening = False
        self._awaited: dict[str, float] = {}  # levels of which nothing kept has come, and when they were subscribed to
        self._kept: dict[str, bytes] = {}  # by level: what the broker keeps, as far as it has come on this connection

    def topic(self, level: str) -> str:
        """Return where the commands of a level come from."""
        return self._link.command_topics[level]

    # Subscribing.

    def begin(self, connection: Connection, now: float) -> None:
        """Subscribe on a new connection."""
        self._unsubscribed = list(self._asked)
        self._tried, self._tried_at = None, -math.inf
        self._listening = True
        self._awaited.clear()
        self._kept.clear()
        if not self._one_at_a_time:
            self._subscribe(connection, self._unsubscribed, now)
            self._unsubscribed.clear()
        self.tick(connection, now)

    def _subscribe(self, connection: Connection, levels: list[str], now: float) -> None:
        connection.subscribe([self.topic(level) for level in levels])
        self._awaited |= dict.fromkeys([level for level in levels if level in commands.LEVELS], now)

    def tick(self, connection: Connection, now: float) -> None:
        """Subscribe to what is not subscribed to yet, when its time has come; to be called about once a second."""
        for level in [level for level, asked_at in self._awaited.items() if now >= asked_at + KEPT_S]:
            del self._awaited[level]  # nothing is kept: what comes from there some day is new
            self._carry_out(Command(Action.CLEARED, level))
        if now < self._tried_at + TRIAL_S:
            return
        for level in self._unsubscribed:
            if now >= self._left_out_until[level]:
                self._unsubscribed.remove(level)
                self._tried, self._tried_at = level, now
                self._subscribe(connection, [level], now)
                return

    def oversized(self, now: float) -> None:
        """Note that the connection has ended for the size of a message that arrived."""
        if self._tried is not None and now < self._tried_at + TRIAL_S + 1:
            self._left_out_until[self._tried] = now + LEFT_OUT_S
            topic = self.topic(self._tried)
            problem = (
                f"a message too large for a command is retained on {topic}, which is not heard for"
                f" {LEFT_OUT_S / 60:.0f} minutes; delete it: mosquitto_pub -r -n -t {topic}"
            )
            self._report("commands-unheard", repeats=("commands-unheard", topic), problem=problem)
        self._one_at_a_time = True

    def end(self, connection: Connection) -> None:
        """Hear no more commands: a flood of them could keep the broker's answers waiting."""
        connection.unsubscribe([self.topic(level) for level in self._asked])
        self._unsubscribed.clear()
        self._listening = False

    # Executing.

    def arrived(self, message: Arrived) -> None:
        """Take a message on one of these topics: a command is executed when its turn comes, anything else reported."""
        level = self._levels.get(message.topic, message.topic)
        if level == commands.BIRTH and message.payload != b"online":
            return  # what else Home Assistant says of itself
        if message.retained:
            self._awaited.pop(level, None)
            self._kept[level] = message.payload
        elif not message.payload:
            self._kept.pop(level, None)
        command = commands.parse(
            level,
            message.payload,
            retained=message.retained,
            allow_remote_opt_in=self._link.allow_remote_opt_in,
            wake_words=self._link.wake_words,
        )
        if isinstance(command, commands.Ignored):
            self._report("command-ignored", repeats=("command-ignored", command.kind), problem=command.problem)
            return
        # Each command once, in the order in which they were last asked for: what counts is what was asked last.
        asked, key = self._asked[level], (command.action, command.retained, command.word)
        asked.pop(key, None)
        asked[key] = command

    def execute_due(self, connection: Connection, now: float) -> None:
        """Execute what was asked for on each topic, unless the last time is not long enough ago."""
        for level, asked in self._asked.items():
            if asked and now >= self._executed_at[level] + PACE_S:
                self._executed_at[level] = now
                unsure = any(self._may_be_kept(command) for command in asked.values())
                self._execute_all(asked)
                if unsure and self._listening:
                    connection.subscribe([self.topic(level)])

    def _may_be_kept(self, command: Command) -> bool:
        """May the broker keep this command, without that we know it?"""
        if (
            command.retained
            or command.action in (Action.CLEARED, Action.OPT_IN)
            or command.level not in commands.LEVELS
        ):
            return False
        return self._kept.get(command.level) != command.payload

    def execute_rest(self) -> None:
        """Execute all that was asked for: the connection has ended."""
        for asked in self._asked.values():
            self._execute_all(asked)

    def next_at(self) -> float:
        """Return when something is due; infinite: nothing was asked for."""
        return min(
            (self._executed_at[level] + PACE_S for level, asked in self._asked.items() if asked), default=math.inf
        )

    def _execute_all(self, asked: dict[_Key, Command]) -> None:
        while asked:
            self._carry_out(asked.pop(next(iter(asked))))

    def _carry_out(self, command: Command) -> None:
        word = command.action.value
        try:
            self._execute(command)
        except CommandRefusedError as error:
            problem, topic = str(error), self.topic(command.level)
            if command.retained:
                delete = commands.how_to_delete(self._link.address, topic)
                problem = f"a retained {word} stands on {topic}: {error}; it is not obeyed again; delete it: {delete}"
            self._report("command-ignored", repeats=("command-ignored", f"{word} {command.retained}"), problem=problem)
        except RecorderError as error:
            self._report("command-failed", repeats=("command-failed", word), command=word, problem=str(error))
