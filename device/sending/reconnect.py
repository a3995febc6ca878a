"""How and when to connect next: the protocol version to speak, and the pause before."""

from __future__ import annotations

from enum import Enum, auto
from typing import Literal

Protocol = Literal["5", "3.1.1"]

FIRST_S = 0.5
SLOWEST_S = 5.0
SLOWEST_LOGIN_S = 30.0  # a refused login is somebody's mistake, as is too large a message, and brokers count attempts
TAKEN_S, SLOWEST_TAKEN_S = (
    5.0,
    120.0,
)  # two clients with one id throw each other out: each time at once would be a fight
QUICK_S = 30.0  # a connection that ended sooner was quick
CUTS = 3  # so many quick ones in a row, ended without a word while nothing was under way, are another client's doing
CALM_S = 600.0  # a connection that lasted so long ends any suspicion


class Trouble(Enum):
    """Why there is no connection, as far as the next attempt cares."""

    VERSION = auto()  # the broker answered that it does not speak this version
    CLOSED = auto()  # it closed the connection instead of answering, or never answers: an old or a stopping broker
    LOGIN = auto()  # it answered that this login may not connect
    RETAIN = auto()  # it answered that it keeps no retained messages
    OVERSIZE = auto()  # it began to send a message that is larger than any we ask for
    TAKEN = auto()  # it said that another client has connected with our id
    CUT = auto()  # it closed a connection in use without a word, which is all that some say of the same
    OTHER = auto()  # anything else: not reachable, no answer, a certificate, lost later on


class Reconnect:
    """MQTT 5 first, 3.1.1 where the broker speaks nothing newer; pauses double up to a few seconds.

    A broker may also refuse a connection for its last will, or end it for a state, because it keeps no retained
    messages: then the next connection has none kept.

    A connection spoken in 3.1.1 is dangerous with a broker that could speak 5: a message that it drops looks
    acknowledged. So a mere close, which a restarting broker gives too, is no proof: a 3.1.1 connection that follows one
    is used only after 5 was closed again at once.

    Attributes:
        protocol: the version for the next attempt.
        retain: whether the next connection may have messages kept.
        taken: whether the last trouble, as far as can be told, was another client with our id.
    """

    def __init__(self, setting: Literal["auto", "5", "3.1.1"]) -> None:
        self._auto = setting == "auto"
        self.protocol: Protocol = "3.1.1" if setting == "3.1.1" else "5"
        self.retain = True
        self._proven = not self._auto  # the fallback is the broker's own word, or was checked
        self._checking = False  # 3.1.1 worked after a mere close: is 5 closed again?
        self._failures = 0
        self._refusals = 0
        self._cuts = 0
        self._takings = 0
        self.taken = False

    def connected(self) -> bool:
        """Note that the broker accepted the connection, and return whether it may be used."""
        if self._auto and self.protocol == "3.1.1" and not self._proven:
            self.protocol, self._checking = "5", True
            return False
        self._checking = False
        return True

    def settled(self) -> None:
        """Note that the connection proved useful: the next pause is short again."""
        self._failures = self._refusals = 0

    def ended(self) -> None:
        """Note that a connection in use has ended: the broker that comes back may be a newer one."""
        self.retain = True
        if self._auto:
            self.protocol, self._proven, self._checking = "5", False, False

    def pause_s(self, trouble: Trouble, jitter: float, lasted_s: float = 0.0) -> float:
        """Note an attempt or a connection that ended in trouble, and return the pause before the next attempt.

        Args:
            trouble: why.
            jitter: a random number from 0 to 1, so that many devices do not come back at the same moment.
            lasted_s: how long the connection was in use.
        """
        self._suspect(trouble, lasted_s)
        if self.taken:
            self._takings += 1
            return min(TAKEN_S * 2.0 ** min(self._takings - 1, 10), SLOWEST_TAKEN_S) * (0.8 + 0.2 * jitter)
        if trouble is Trouble.RETAIN and self.retain:
            self.retain = False
            return 0.0
        if self._auto and self._change(trouble):
            return 0.0
        self._refusals = self._refusals + 1 if trouble in (Trouble.LOGIN, Trouble.OVERSIZE) else 0
        slowest = SLOWEST_LOGIN_S if self._refusals else SLOWEST_S
        exponent = (self._refusals or self._failures + 1) - 1
        self._failures += 1
        return min(FIRST_S * 2.0 ** min(exponent, 10), slowest) * (0.8 + 0.2 * jitter)

    def _suspect(self, trouble: Trouble, lasted_s: float) -> None:
        """Judge whether another client has our id."""
        if lasted_s >= CALM_S:
            self._takings = 0
        self._cuts = self._cuts + 1 if trouble is Trouble.CUT and lasted_s < QUICK_S else 0
        self.taken = trouble is Trouble.TAKEN or self._cuts >= CUTS

    def _change(self, trouble: Trouble) -> bool:
        """Choose the protocol for the next attempt; true if the broker's answer calls for it at once."""
        if self.protocol == "5" and trouble in (Trouble.VERSION, Trouble.CLOSED):
            self.protocol = "3.1.1"
            self._proven = self._checking or trouble is Trouble.VERSION
            self._checking = False
            return True
        if self.protocol == "5":
            self._checking = False
            return False
        self.protocol, self._proven, self._checking = "5", False, False
        return False
