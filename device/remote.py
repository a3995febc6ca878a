"""Commands from afar: heard, obeyed at a bounded pace, and those that are not obeyed reported by their kind.

Whoever may write to a command's topic may write there ten thousand times a second. Each of these costs its reading;
what follows from them (a transaction, a line of the log, an event, a state) happens once a second at most.

They may also leave a message of 200 MB there. With MQTT 5 the broker is asked not to send it. In 3.1.1 the connection
ends as it begins, each time anew where the broker has retained it; so from then on the topics are subscribed to one
after the other, and the one whose subscription brings it is left out for some minutes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from device.core import commands
from device.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.core.commands import Command
    from device.edges.mqtt import Arrived, Connection, LinkSettings

PACE_S = 1.0  # how often the commands of one topic are obeyed
TRIAL_S = 2.0  # how soon after a subscription a retained message comes
DEAF_S = 600.0  # how long a topic with such a message is left out


class RemoteCommands:
    """Used by the sender's thread only.

    Args:
        link: where commands come from, and whether opting in is one.
        obey: carries a command out.
        report: takes an event, its ``repeats=`` and its fields.
    """

    def __init__(self, link: LinkSettings, obey: Callable[[Command], None], report: Callable[..., None]) -> None:
        self._link = link
        self._obey = obey
        self._report = report
        self._asked: dict[str, dict[Command, None]] = {level: {} for level in commands.LEVELS}
        self._obeyed_at = dict.fromkeys(commands.LEVELS, -math.inf)
        self._careful = False  # one topic at a time
        self._unheard: list[str] = []  # the levels not subscribed to on this connection
        self._deaf_until = dict.fromkeys(commands.LEVELS, -math.inf)
        self._tried: str | None = None  # the level subscribed to last, where it was by itself
        self._tried_at = -math.inf

    def topic(self, level: str) -> str:
        """Return where the commands of a level come from."""
        return f"{self._link.base_topic}/{level}"

    # Subscribing.

    def begin(self, connection: Connection, now: float) -> None:
        """Subscribe on a new connection."""
        self._unheard = list(commands.LEVELS)
        self._tried, self._tried_at = None, -math.inf
        if not self._careful:
            connection.subscribe([self.topic(level) for level in self._unheard])
            self._unheard.clear()
        self.tick(connection, now)

    def tick(self, connection: Connection, now: float) -> None:
        """Subscribe to what is not subscribed to yet, when its time has come; to be called about once a second."""
        if now < self._tried_at + TRIAL_S:
            return
        for level in self._unheard:
            if now >= self._deaf_until[level]:
                self._unheard.remove(level)
                self._tried, self._tried_at = level, now
                connection.subscribe([self.topic(level)])
                return

    def oversized(self, now: float) -> None:
        """Note that the connection has ended for the size of a message that arrived."""
        if self._tried is not None and now < self._tried_at + TRIAL_S + 1:
            self._deaf_until[self._tried] = now + DEAF_S
            topic = self.topic(self._tried)
            problem = (
                f"a message too large for a command is retained on {topic}, which is not heard for {DEAF_S / 60:.0f}"
                f" minutes; delete it: mosquitto_pub -r -n -t {topic}"
            )
            self._report("commands-unheard", repeats=("commands-unheard", topic), problem=problem)
        self._careful = True

    def end(self, connection: Connection) -> None:
        """Hear no more commands: a flood of them could keep the broker's answers waiting."""
        connection.unsubscribe([self.topic(level) for level in commands.LEVELS])
        self._unheard.clear()

    # Obeying.

    def arrived(self, message: Arrived) -> None:
        """Take a message on one of these topics: a command is obeyed when its turn comes, anything else reported."""
        level = message.topic.removeprefix(f"{self._link.base_topic}/")
        command = commands.parse(
            level,
            message.payload,
            retained=message.retained,
            allow_remote_opt_in=self._link.allow_remote_opt_in,
        )
        if isinstance(command, commands.Ignored):
            self._report("command-ignored", repeats=("command-ignored", command.kind), problem=command.problem)
            return
        # Each command once, in the order in which they were last asked for: what counts is what was asked last.
        asked = self._asked[level]
        asked.pop(command, None)
        asked[command] = None

    def obey_due(self, now: float) -> None:
        """Obey what was asked for on each topic, unless the last time is not long enough ago."""
        for level, asked in self._asked.items():
            if asked and now >= self._obeyed_at[level] + PACE_S:
                self._obeyed_at[level] = now
                self._obey_all(asked)

    def obey_rest(self) -> None:
        """Obey all that was asked for: the connection has ended."""
        for asked in self._asked.values():
            self._obey_all(asked)

    def next_at(self) -> float:
        """Return when something is due; infinite: nothing was asked for."""
        return min((self._obeyed_at[level] + PACE_S for level, asked in self._asked.items() if asked), default=math.inf)

    def _obey_all(self, asked: dict[Command, None]) -> None:
        while asked:
            command = next(iter(asked))
            del asked[command]
            try:
                self._obey(command)
            except RecorderError as error:
                kind = ("command-failed", command.value)
                self._report("command-failed", repeats=kind, command=command.value, problem=str(error))
