"""The sound server behind ALSA, where there is one: which of its sources this process records, and what becomes of it.

PulseAudio answers, and PipeWire by its pipewire-pulse; both move a stream to another source as they like, also to a
monitor, which is what a loudspeaker plays. Where neither can be asked, nobody is: the microphone works without.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

# The positions that ALSA's plug-ins give a stream's channels; a server maps a source's channels onto them by name.
_QUAD = ("front-left", "front-right", "rear-left", "rear-right")
STREAM_POSITIONS = {
    1: ("mono",),
    2: _QUAD[:2],
    4: _QUAD,
    6: (*_QUAD, "front-center", "lfe"),
    8: (*_QUAD, "front-center", "lfe", "side-left", "side-right"),
}
ROUTE_S = 1.0  # how long a server may take to connect a new stream to a source; PipeWire's does it after the opening
POLL_S = 0.02
LISTEN_S = 1.0  # how late the watching thread sees that it shall end

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Something a sound server records from.

    Attributes:
        name: lasting, such as ``alsa_input.usb-…``.
        description: for people, such as ``USB PnP Sound Device Mono``.
        channels: its channels' positions, such as ``("front-left", "front-right")``.
        is_monitor: it is what a loudspeaker plays.
        muted: it gives silence because somebody muted it there.
    """

    name: str
    description: str
    channels: tuple[str, ...]
    is_monitor: bool
    muted: bool

    @property
    def is_mixed(self) -> bool:
        """Whether no stream of ALSA's gets its channels one for one, because they are called otherwise."""
        return STREAM_POSITIONS.get(len(self.channels)) != self.channels


@dataclass(frozen=True, slots=True)
class Route:
    """Where a stream of this process comes from.

    Attributes:
        source: what it is connected to; None: nothing now.
        channels: the stream's channels' positions, onto which the server maps the source's by name.
        muted: the stream itself was muted there.
    """

    source: Source | None
    channels: tuple[str, ...]
    muted: bool

    @property
    def is_mix(self) -> bool:
        """Whether the stream's channels are not the source's own, one for one."""
        return self.source is not None and self.channels != self.source.channels


class SoundServer:
    """A connection to the server; used by one thread at a time, from ``watch`` on by the one that watches."""

    def __init__(self, library: Any, connection: Any) -> None:
        self._pulsectl = library
        self._pulse = connection
        self._watched = False
        self._closed = False
        self._changed = False

    @classmethod
    def connect(cls) -> SoundServer | None:
        """Return a connection; None where there is no server to ask. None is started."""
        pulsectl = _library()
        if pulsectl is None:
            return None
        connection = pulsectl.Pulse("wakeword-recorder", connect=False)
        try:
            connection.connect(autospawn=False)
        except pulsectl.PulseError:
            connection.close()
            return None
        return cls(pulsectl, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def source(self, name: str = "") -> Source | None:
        """Return a source by its name, the default one if empty; None if there is none."""
        try:
            name = name or self._pulse.server_info().default_source_name
            return _source(self._pulse.get_source_by_name(name))
        except (self._pulsectl.PulseError, self._pulsectl.PulseDisconnected, UnicodeDecodeError):
            return None

    def sources(self) -> list[Source]:
        """Return all sources, monitors too."""
        try:
            return [_source(found) for found in self._pulse.source_list()]
        except (self._pulsectl.PulseError, self._pulsectl.PulseDisconnected, UnicodeDecodeError):
            return []

    def route(self) -> Route | None:
        """Return where this process's stream comes from; None: it does not come from this server, or nobody knows."""
        try:
            # By the client that owns the stream, for PipeWire's own streams do not name their process themselves.
            pid = str(os.getpid())
            own = {one.index for one in self._pulse.client_list() if one.proplist.get("application.process.id") == pid}
            for stream in self._pulse.source_output_list():
                if stream.client in own:
                    sources = {one.index: one for one in self._pulse.source_list()}
                    found = sources.get(stream.source)
                    return Route(_source(found) if found else None, tuple(stream.channel_list), bool(stream.mute))
        except (self._pulsectl.PulseError, self._pulsectl.PulseDisconnected, UnicodeDecodeError) as error:
            _log.debug("the sound server does not say where the stream comes from: %r", error)
        return None

    def new_route(self) -> Route | None:
        """Return where a stream opened just now comes from, as soon as it is connected."""
        deadline_s = time.monotonic() + ROUTE_S
        while True:
            route = self.route()
            if (route and route.source) or time.monotonic() > deadline_s:
                return route
            time.sleep(POLL_S)

    def watch(self, on_change: Callable[[Route | None], None]) -> None:
        """Have a thread say where the stream comes from, now and whenever that may have changed, until ``close``.

        Args:
            on_change: called on that thread.
        """
        self._watched = True
        # A daemon, since a server that does not answer would hold it for ever; it owns the connection and closes it.
        threading.Thread(target=self._watch, args=(on_change,), name="sound server", daemon=True).start()

    def _watch(self, on_change: Callable[[Route | None], None]) -> None:
        try:
            self._pulse.event_mask_set("source", "source_output", "server")
            self._pulse.event_callback_set(self._note_change)
            self._changed = True
            while not self._closed:
                if self._changed:
                    self._changed = False
                    on_change(self.route())
                if not self._changed:  # an event may also come while it answers
                    self._pulse.event_listen(timeout=LISTEN_S)
        except (self._pulsectl.PulseError, self._pulsectl.PulseDisconnected):
            on_change(None)  # the server ended; the stream shows what became of it
        finally:
            self._pulse.close()

    def _note_change(self, _event: object) -> None:
        self._changed = True
        raise self._pulsectl.PulseLoopStop

    def close(self) -> None:
        """End the connection, by the watching thread if there is one; returns at once."""
        self._closed = True
        if not self._watched:
            self._pulse.close()


@functools.cache
def _library() -> Any:
    try:
        import pulsectl
    except OSError:  # libpulse is not installed
        return None
    return pulsectl


def _source(found: Any) -> Source:
    return Source(
        name=found.name,
        description=found.description or found.name,
        channels=tuple(found.channel_list),
        is_monitor=bool(found.monitor_of_sink_name),
        muted=bool(found.mute),
    )
