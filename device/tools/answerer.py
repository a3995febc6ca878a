"""Answers requests: each is checked, asked once, its answer published, and only then acknowledged."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from device.answering import answer as answers
from device.answering.age import age_s
from device.answering.answer import BackendAwayError, NotAnsweredError, Question
from device.answering.arbitration import Arbitration
from device.answering.turns import WakePhrases
from device.edges import systemd
from device.edges.flac import read_flac
from device.edges.mqtt import NotConnectedError
from device.errors import StoreBusyError, TagError
from device.message.receive import check, shown
from device.tools.backend_watch import BackendWatch
from device.tools.saying import Saying

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from device.answering.answer import Backend, Reply
    from device.edges.answered import Answered
    from device.edges.mqtt import Arrived, Interrupt
    from device.edges.mqtt.subscriber import Subscriber
    from device.message.receive import Received
    from device.message.timestamps import Clock, Now
    from device.tools.asking import Asking

_STEP_S = 1.0  # paho tries an idle connection at most this often
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # before a backend that is away is asked again
DRAIN_S = 10.0  # what has been asked may end in this time when the command is to stop


@dataclass(frozen=True, slots=True)
class Rules:
    """Which requests are answered.

    Attributes:
        prefix: of all topics.
        max_age_s: what is older is not.
        arbitration_s: how long other devices' requests are waited for, where the backend does not see to it.
    """

    prefix: str
    max_age_s: float
    arbitration_s: float


@dataclass(slots=True)
class _Case:
    """One request on its way to an answer."""

    request: Received
    arrived: Arrived | None  # what to acknowledge; None: its connection is gone, and the broker sends it again
    at: Now
    began_s: float
    tries: int = 0
    asked: Future[Reply] | None = None
    again_s: float | None = None  # when to ask again
    answer: bytes = b""
    mid: int = 0  # of its answer's publish


class Answerer:
    """Takes what a subscriber brings; one thread, which alone uses the connection.

    Args:
        subscriber: to the requests; its session should outlive this command.
        interrupt: ends the subscriber's wait.
        asking: where the backend is asked; it sets the interrupt.
        backend: who answers.
        answered: the ids of before.
        clock: this machine's.
        rules: which requests are answered.
        told: each is called with each answer as it is published; none may wait.
    """

    def __init__(
        self, subscriber: Subscriber, interrupt: Interrupt, asking: Asking, backend: Backend, answered: Answered,
        clock: Clock, rules: Rules, told: Sequence[Callable[[bytes], None]],
    ) -> None:  # fmt: skip
        self._subscriber = subscriber
        self._interrupt = interrupt
        self._asking = asking
        self._backend = backend
        self._answered = answered
        self._clock = clock
        self._rules = rules
        self._told = told
        self._arbitration = Arbitration(0.0 if backend.arbitrates else rules.arbitration_s)
        self._phrases = WakePhrases()
        self._cases: dict[str, _Case] = {}
        self._say = Saying()
        self._watch = BackendWatch(backend, asking, self._say)
        self._connect_s: float | None = 0.0  # when to connect; None: there is a connection
        self._stop_s: float | None = None  # when to end at the latest
        self._watched_s = systemd.watchdog_interval_s()

    def stop(self) -> None:
        """End as soon as what has been asked is answered; for other threads."""
        self._stop_s = time.monotonic() + DRAIN_S
        self._interrupt.set()

    def run(self) -> None:
        """Answer until ``stop`` is called.

        Raises:
            ConfigurationError: the backend will never take us, or a certificate or key cannot be used.
        """
        systemd.notify("READY=1")
        while not self._over():
            self._watch.look()
            for arrived in self._arrivals():
                if self._stop_s is None:  # else the broker keeps it
                    self._take(arrived)
            self._go_on()
            if self._watched_s is not None:
                systemd.notify("WATCHDOG=1")
        self._subscriber.close()
        self._asking.begin(self._backend.close()).result()

    def _over(self) -> bool:
        if self._stop_s is None:
            return False
        busy = any(case.asked or case.answer for case in self._cases.values())
        return not busy or time.monotonic() > self._stop_s

    # --- the connection ---

    def _arrivals(self) -> Sequence[Arrived]:
        """Return what came within a moment; make the connection, or wait until it is time to."""
        try:
            if self._connect_s is not None:
                if (left_s := self._connect_s - time.monotonic()) > 0:
                    self._interrupt.wait(min(left_s, self._patience_s()))
                    return []
                self._subscriber.connect()
                self._connected()
            return self._subscriber.wait(self._patience_s())
        except NotConnectedError as error:
            self._lost(error)
            return []

    def _connected(self) -> None:
        self._connect_s = None
        self._say.over("broker")
        self._say("subscribed", f"waiting for requests; {self._backend.name} answers them")
        if self._subscriber.kept_s < self._subscriber.wanted_s:
            kept = f"the broker keeps what arrives while this is away for {self._subscriber.kept_s} s only"
            self._say("session-short", kept, level=logging.WARNING)
        for case in self._cases.values():
            if case.answer:
                self._publish(case)

    def _lost(self, error: NotConnectedError) -> None:
        self._connect_s = time.monotonic() + error.pause_s
        self._take_published()  # before that it did come
        for case in self._cases.values():
            case.arrived, case.mid = None, 0
        self._say.problem("broker", "broker-lost", str(error))

    def _patience_s(self) -> float:
        """Return how long nothing is to be done."""
        moments = [case.again_s for case in self._cases.values() if case.again_s is not None]
        moments += [decided_s] if (decided_s := self._arbitration.next_s()) is not None else []
        return max(0.0, min([_STEP_S, *(moment - time.monotonic() for moment in moments)]))

    # --- one request ---

    def _take(self, arrived: Arrived) -> None:
        """Check a message, and begin with it if it is a request that is to be answered."""
        try:
            request = check(
                arrived.topic, arrived.payload, arrived.content_type, arrived.user_properties, read_flac=read_flac
            )
        except TagError as error:
            message = f"refused a message under {shown(arrived.topic)}: {error}"
            self._say("refused", message, level=logging.ERROR)
            self._subscriber.acknowledge(arrived)
            return
        tag = request.tag
        if tag.id in self._cases:  # the broker sends it again, by another connection
            self._cases[tag.id].arrived = arrived
        elif tag.id in self._answered:
            self._subscriber.acknowledge(arrived)
        else:
            case = self._cases[tag.id] = _Case(request, arrived, self._clock.now(), time.monotonic())
            if self._young(case):
                self._arbitration.offer(tag, time.monotonic())

    def _young(self, case: _Case) -> bool:
        """Say whether a request is young enough; else be done with it."""
        age = age_s(case.request.tag, case.at, self._clock.now())
        if age is not None and age <= self._rules.max_age_s:
            return True
        old = "nobody knows how old" if age is None else f"{age:.1f} s old"
        self._end(case, "too-old", f"{old}, [answer] max_age_s = {self._rules.max_age_s:g}", level=logging.WARNING)
        return False

    def _go_on(self) -> None:
        """Do what has become possible."""
        self._take_published()
        now_s = time.monotonic()
        for decision in self._arbitration.due(now_s):
            for loser in decision.outdone:
                if loser in self._cases:
                    self._end(self._cases[loser], "outdone", "another device heard it better")
            if decision.winner in self._cases:
                self._cases[decision.winner].again_s = now_s
        for case in list(self._cases.values()):
            if case.asked is not None and case.asked.done():
                self._settle(case, case.asked)
            elif case.again_s is not None and case.again_s <= now_s and self._stop_s is None:
                case.again_s = None
                if self._young(case):
                    self._ask(case)

    def _ask(self, case: _Case) -> None:
        tag, now = case.request.tag, self._clock.now()
        age = age_s(tag, case.at, now) or 0.0
        phrase = self._phrases.of(tag.wake_word, tag.device, age_s=age, first=not case.tries, now_s=time.monotonic())
        case.tries += 1
        question = Question(tag.device, case.request.pcm, phrase)
        case.asked = self._asking.begin(self._backend.ask(question, partial(self._answered.add, tag.id)))

    def _settle(self, case: _Case, asked: Future[Reply]) -> None:
        """Do what the backend's word asks for."""
        case.asked = None
        try:
            reply = asked.result()
        except (BackendAwayError, StoreBusyError) as error:
            pause_s = min(_FIRST_PAUSE_S * 2 ** (case.tries - 1), _LONGEST_PAUSE_S)
            case.again_s = time.monotonic() + pause_s
            self._watch.away(str(error))
        except NotAnsweredError as error:
            self._note(case)
            self._end(case, "unanswered", str(error), level=logging.WARNING)
        else:
            self._watch.back()
            took_s = time.monotonic() - case.began_s
            tag = case.request.tag
            case.answer = answers.published(tag.id, reply, backend=self._backend.name, took_s=took_s)
            self._publish(case)
            for tell in self._told:
                tell(case.answer)
            self._say_case("answered", case, f"{self._backend.name} took {took_s:.2f} s", took_s=round(took_s, 3))

    def _note(self, case: _Case) -> None:
        """Note that a request is done with, where asking has not done so; a full disk is said, and no reason to end."""
        try:
            self._answered.add(case.request.tag.id)
        except StoreBusyError as error:
            self._say.problem("answered", "state-folder", str(error))

    def _publish(self, case: _Case) -> None:
        if self._connect_s is None:
            case.mid = self._subscriber.publish(answers.topic(self._rules.prefix, case.request.tag.device), case.answer)

    def _take_published(self) -> None:
        """Acknowledge the requests whose answers the broker has, or will not have."""
        by_mid = {case.mid: case for case in self._cases.values() if case.mid}
        for published in self._subscriber.answered():
            if published.refused:
                right = f"its access list must let this login write {answers.topic(self._rules.prefix, '+')}"
                problem = f"the broker refused an answer: {published.text.lower()}; {right}"
                self._say.problem("answers", "answer-refused", problem)
            if published.mid in by_mid:
                self._forget(by_mid[published.mid])

    def _end(self, case: _Case, event: str, why: str, *, level: int = logging.INFO) -> None:
        self._say_case(event, case, why, level=level)
        self._forget(case)

    def _forget(self, case: _Case) -> None:
        del self._cases[case.request.tag.id]
        if case.arrived is not None:
            self._subscriber.acknowledge(case.arrived)

    def _say_case(self, event: str, case: _Case, why: str, *, level: int = logging.INFO, **fields: object) -> None:
        """Say what became of a request; never what it says, or what is answered."""
        tag = case.request.tag
        message = f"{event.replace('-', ' ')}: {tag.device}'s request {tag.id}: {why}"
        self._say(event, message, level=level, id=tag.id, device=tag.device, **fields)
