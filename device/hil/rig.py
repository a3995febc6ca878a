"""The bench: loudspeaker, microphone, daemon and broker; plays a sound and brings back all that came of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.edges.microphone.environment import environment
from device.hearing.frames import RATE_HZ, samples_of
from device.hil.alignment import CHIRP_S, Alignment, Chirp, Signal, chirp, find_chirp
from device.hil.broker import mosquitto
from device.hil.daemon import Inbox, RigError, running
from device.hil.loudspeaker import Loudspeaker
from device.hil.setup import under_test
from device.hil.virtual import LOUDSPEAKER, VirtualPair, missing_programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from device.config.settings import Settings
    from device.hil.daemon import Arrival, Daemon
    from device.hil.loudspeaker import Played
    from device.hil.setup import Setup

REST_S = 0.4  # of silence between a chirp and the recording
UNKNOWN_S = 1.0  # how late a chirp may come whose way is not known yet: a wireless loudspeaker's may be long
KNOWN_S = 0.25
EARLY_S = 0.3  # a sound server's idea of when a sample is heard may be wrong by so much
MARGIN_S = 1.0  # between one recording and the next
TONE = 2.5 / 32768  # the virtual room's own noise: no real one gives digital silence


@dataclass(frozen=True, slots=True)
class Playback:
    """What came of one sound played.

    Attributes:
        span: where in the stream it was heard; None: its chirps were not.
        heard: what the microphone heard of it, int16 turned into floats, shape (its samples times the stretch,);
            without a span, all that it heard meanwhile.
        start: the stream position of ``heard``.
        arrivals: what came at the broker.
        wakes: the daemon's events of wake words heard.
        outcomes: the daemon's events of what became of each, in the same order.
        complaints: what it warned of.
        holes: where the microphone said that sound is missing: second of the sound, and how many seconds.
        underflows: how often this machine was too slow to play.
        delay_s: from a sample's time at the loudspeaker to its time at the microphone, as far as both know.
    """

    span: Alignment | None
    heard: Signal
    start: int
    arrivals: tuple[Arrival, ...]
    wakes: tuple[dict[str, Any], ...]
    outcomes: tuple[dict[str, Any], ...]
    complaints: tuple[str, ...]
    holes: tuple[tuple[float, float], ...]
    underflows: int
    delay_s: float
    _played: Played
    _offset: int
    _began_s: float

    def time_of(self, sample: float) -> float:
        """Return when a sample of the sound was in the air: the loudspeaker's or the microphone's time, if earlier."""
        played = self._played.time_of(self._offset + sample)
        heard = self._began_s + (self.span.at(sample) if self.span else 0.0) / RATE_HZ
        return heard if played is None else min(played, heard)


@contextmanager
def rig(setup: Setup, words: Iterable[str]) -> Iterator[Rig]:
    """Set a bench up for a block.

    Args:
        setup: what it is made of.
        words: the wake words to listen for.

    Raises:
        RecorderError: a part of it is not there or does not work.
    """
    with ExitStack() as stack:
        # A state folder in /tmp, which may be in memory, would make the daemon warn.
        folder = Path(tempfile.mkdtemp(prefix="hil-", dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None))  # noqa: S108
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        env = stack.enter_context(_environment(setup))
        port = None if setup.broker or setup.settings.path else stack.enter_context(mosquitto(folder))
        settings = under_test(setup, words, folder, port)
        speaker = stack.enter_context(_loudspeaker(setup))
        inbox = stack.enter_context(Inbox(settings))
        yield Rig(settings, speaker, inbox, stack.enter_context(running(settings, env)))


class Rig:
    """A bench that is set up; `rig` makes it.

    Args:
        settings: the daemon's configuration.
        speaker: the loudspeaker.
        inbox: the broker's other side.
        daemon: the daemon.
    """

    def __init__(self, settings: Settings, speaker: Loudspeaker, inbox: Inbox, daemon: Daemon) -> None:
        self.settings = settings
        self.speaker = speaker
        self.inbox = inbox
        self.daemon = daemon
        self._delay_s: float | None = None

    def listen(self, seconds: float) -> Signal:
        """Play nothing, and return what the microphone hears meanwhile, shape (seconds at 16 kHz,)."""
        heard = self.daemon.heard
        start = heard.end
        end = start + samples_of(seconds)
        self.daemon.ensure(lambda: heard.end >= end, seconds + 5, "the microphone delivers no sound any more")
        return heard.slice(start, end) / 32768

    def play(self, sound: Signal, tail_s: float) -> Playback:
        """Play a sound between two chirps, wait for all that comes of it, and return that.

        Args:
            sound: floats, 16 kHz, full scale 1.
            tail_s: how long to be silent after it, before the chirp: long enough for the daemon to decide.

        Raises:
            RigError: the daemon ended, or hears nothing any more.
            LoudspeakerError: the loudspeaker takes nothing any more.
        """
        heard, daemon = self.daemon.heard, self.daemon
        heard.forget(heard.end - samples_of(MARGIN_S))
        said, under = daemon.said, self.speaker.underflows
        rest, mark = np.zeros(samples_of(REST_S)), chirp()
        whole = np.concatenate([mark, rest, sound, np.zeros(samples_of(tail_s)), mark, rest])
        offset = len(mark) + len(rest)
        end_mark = len(whole) - len(rest) - len(mark)
        played = self.speaker.play(whole)
        last = self._wait_until_heard(played.wait(10.0))
        span = self._span(played, offset, end_mark)
        self._await_outcomes(said)
        start = max(heard.position_at(played.time_of(0) or 0.0), 0) if span is None else round(span.start)
        end = last if span is None else round(span.at(len(sound) + samples_of(tail_s)))
        return Playback(
            span=span,
            heard=heard.slice(start, end) / 32768,
            start=start,
            arrivals=self.inbox.take(),
            wakes=tuple(daemon.events("wake", since=said)),
            outcomes=tuple(daemon.events("stored", "no-speech", "lost", since=said)),
            complaints=tuple(daemon.complaints(said)),
            holes=tuple(
                ((at - start) / RATE_HZ, missing / RATE_HZ) for at, missing in heard.holes if start <= at <= end
            ),
            underflows=self.speaker.underflows - under,
            delay_s=self._delay_s or 0.0,
            _played=played,
            _offset=offset,
            _began_s=heard.began_s,
        )

    def _span(self, played: Played, offset: int, end_mark: int) -> Alignment | None:
        """Find both chirps and between them the sound, at its place and pace; None: they were not heard."""
        first, second = (self._find(played, at) for at in (0, end_mark))
        if first is None or second is None:
            return None
        stretch = (second - first) / end_mark
        return Alignment(first + offset * stretch, stretch)

    def _wait_until_heard(self, end_s: float) -> int:
        """Wait until what was played up to a time has surely been heard; return the stream position of that."""
        heard = self.daemon.heard
        latest_s = KNOWN_S + self._delay_s if self._delay_s is not None else UNKNOWN_S
        last = heard.position_at(end_s + latest_s)
        limit_s = max(end_s - time.monotonic(), 0) + latest_s + 5
        self.daemon.ensure(lambda: heard.end >= last, limit_s, "the microphone delivers no sound any more")
        return int(last)

    def _find(self, played: Played, sample: int) -> float | None:
        """Return the stream position at which a chirp was heard that begins at a sample of what was played."""
        when = played.time_of(sample)
        assert when is not None, "it has been played"  # noqa: S101
        heard = self.daemon.heard
        early_s, late_s = (EARLY_S, UNKNOWN_S) if self._delay_s is None else (
            KNOWN_S - self._delay_s, KNOWN_S + self._delay_s)  # fmt: skip
        start = max(heard.position_at(when - early_s), 0)
        end = heard.position_at(when + late_s + CHIRP_S)
        found: Chirp | None = find_chirp(heard.slice(start, end) / 32768)
        if found is None:
            return None
        self._delay_s = (start + found.sample - heard.position_at(when)) / RATE_HZ
        return start + found.sample

    def _await_outcomes(self, said: int) -> None:
        """Wait until each wake word heard has come to its end, and each request stored has arrived."""
        capture = self.settings.capture
        limit_s = max(capture.no_speech_s, capture.max_s) + 2
        self.daemon.ensure(self.daemon.settled, limit_s, "a wake word heard has come to no end")
        wanted = {event["id"] for event in self.daemon.events("stored", since=said)}
        deadline_s = time.monotonic() + 5.0
        while time.monotonic() < deadline_s:
            arrived = {one.request.tag.id for one in self.inbox.arrivals if one.request}
            if wanted <= arrived:
                return
            time.sleep(0.01)


@contextmanager
def _environment(setup: Setup) -> Iterator[dict[str, str]]:
    """Give the daemon's environment; of a virtual pair this process's own is the same meanwhile, for PortAudio."""
    if setup.virtual is None:
        yield dict(os.environ)
        return
    if missing := missing_programs():
        raise RigError(f"a virtual pair needs {' and '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")
    pair = VirtualPair(setup.virtual.rate_hz, setup.virtual.channels)
    with closing(pair), environment(pair.settings):
        yield dict(os.environ)


def _loudspeaker(setup: Setup) -> Loudspeaker:
    if setup.virtual is None:
        return Loudspeaker(setup.speaker)
    rate_hz, channels = setup.virtual.rate_hz, setup.virtual.channels
    # Only the last channel plays, which is the one listened to: with another, nothing would be heard.
    return Loudspeaker(LOUDSPEAKER, rate_hz=rate_hz, channels=channels, channel=channels, tone=TONE)
