"""Is anybody heard? Judges one stream by what is seen of it; pure, so that no test of it takes any time.

A device that is gone shows by the time of its last frame: PortAudio may go on as if nothing were. A microphone that a
switch mutes, or an input to which nothing is connected, gives frames without any sound in them: digital silence, the
same number over and over, which no microphone's own noise ever is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from device.edges.microphone.soundserver import Route

FRAMES_LIMIT_S = 2.0  # no frame for this long: lost, whatever PortAudio says
SILENCE_LIMIT_S = 20.0  # digital silence for this long: nobody is heard
# A headset may let only speech through: each time that sound comes back, silence may last twice as long, up to here.
LONGEST_SILENCE_S = 640.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of a stream; times by any clock that nobody sets.

    Attributes:
        now_s: when it is judged.
        last_frame_s: when its last frame came; None before the first.
        last_sound_s: when its last frame with a sound in it came, or it was opened.
        ended: PortAudio ended it.
        route: where a sound server takes it from now; None: no server says.
    """

    now_s: float
    last_frame_s: float | None
    last_sound_s: float
    ended: bool = False
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """What a stream is good for.

    Attributes:
        name: ``waiting`` for the first frame; ``listening``; ``silent``: it stays open, but nobody can be heard by it;
            ``over``: close it and look for the microphone again.
        reason: what is wrong, in one line.
        hint: what to do about it.
        again_s: when to judge again if nothing happens before.
    """

    name: Literal["waiting", "listening", "silent", "over"]
    reason: str = ""
    hint: str = ""
    again_s: float = 0.0


class Judge:
    """Judges one stream from its opening to its end.

    Args:
        opened_s: when it was opened.
        route: where it came from then.
        wanted: the sound server's source that it must come from, by its name; empty: any.
        may_be_monitor: the user named what the stream comes from, so that it may be a loudspeaker's monitor.
    """

    def __init__(
        self, opened_s: float, route: Route | None = None, *, wanted: str = "", may_be_monitor: bool = False
    ) -> None:
        self._opened_s = opened_s
        self._source = route.source if route else None
        self._wanted = wanted
        self._may_be_monitor = may_be_monitor
        self._patience_s = SILENCE_LIMIT_S
        self._was_silent = False

    def judge(self, seen: Seen) -> StreamHealth:
        """Judge the stream now."""
        frames_until_s = (self._opened_s if seen.last_frame_s is None else seen.last_frame_s) + FRAMES_LIMIT_S
        if seen.ended:
            return StreamHealth("over", "the device's stream ended", "was it unplugged?")
        if misrouted := self._misrouted(seen.route):
            return misrouted
        if seen.now_s >= frames_until_s:
            return StreamHealth("over", f"the device delivered nothing for {FRAMES_LIMIT_S:g} s", "was it unplugged?")
        if seen.last_frame_s is None:
            return StreamHealth("waiting", again_s=frames_until_s)
        if muted := _muted(seen.route):
            return StreamHealth("silent", *muted, again_s=frames_until_s)
        sound_until_s = seen.last_sound_s + self._patience_s
        if seen.now_s >= sound_until_s:
            self._was_silent = True
            hint = "is it muted by a switch or in alsamixer, or is it another channel ([microphone] channel)?"
            return StreamHealth("silent", "the device gives only digital silence", hint, again_s=frames_until_s)
        if self._was_silent:
            self._was_silent = False
            self._patience_s = min(2 * self._patience_s, LONGEST_SILENCE_S)
        return StreamHealth("listening", again_s=min(frames_until_s, sound_until_s))

    def _misrouted(self, route: Route | None) -> StreamHealth | None:
        """Say what is wrong with the source; one that is being changed shows by its frames."""
        source = route.source if route else None
        if source is None:
            return None
        if self._source is None:
            self._source = source  # PipeWire may connect a stream late
        if source.name != self._source.name:
            moved = f'the sound server moved the stream from "{self._source.description}" to "{source.description}"'
            return StreamHealth("over", moved, "was the microphone unplugged?")
        if self._wanted not in ("", source.name):
            instead = f'the sound server gives "{source.description}" instead of "{self._wanted}"'
            return StreamHealth("over", instead, "was the microphone unplugged?")
        if source.is_monitor and not self._may_be_monitor:
            return StreamHealth(
                "over",
                f'"{source.description}" is what a loudspeaker plays, no microphone',
                "plug a microphone in, or make it the sound server's default source (pactl set-default-source)",
            )
        return None


def _muted(route: Route | None) -> tuple[str, str] | None:
    """Say that somebody muted the source, or this program's stream, and what undoes it."""
    if route and route.source and route.source.muted:
        undo = f"pactl set-source-mute {route.source.name} 0"
        return f'the sound server has muted "{route.source.description}"', undo
    if route and route.muted:
        return "the sound server has muted this program's stream", "unmute it there, in pavucontrol for example"
    return None
