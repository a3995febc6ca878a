"""One opened stream of the channel that the user chose: no mix where that can be helped, and its source known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from device.edges.microphone import portaudio
from device.edges.microphone.blocks import StreamFormat
from device.edges.microphone.environment import environment
from device.edges.microphone.health import Judge, Seen, StreamHealth
from device.edges.microphone.inputs import no_channel
from device.edges.microphone.listing import leading_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device.edges.microphone.inputs import InputDevice
    from device.edges.microphone.soundserver import Route, SoundServer

SILENT_S = 0.5  # no frame for this long: PortAudio's thread sits in poll, not in the callback


class Stream:
    """Open from its creation to ``close``.

    Args:
        sd: what `portaudio.initialised` gives.
        device: what to open.
        channel: which channel, counted from 1.
        server: where the stream may come from; None: from no sound server.
        name: what the user called the microphone, which may be a monitor's name.
        on_block: called on PortAudio's thread with the interleaved int16 PCM, the seconds that are missing before it,
            and the stream's format.
        on_change: called on any thread when `judge` may have something new to say.

    Attributes:
        format: what was opened.
        warning: what is odd about it; empty if nothing is.

    Raises:
        MicrophoneUnavailableError: it cannot be opened now, or has no such channel.
    """

    def __init__(
        self,
        sd: Any,
        device: InputDevice,
        channel: int,
        server: SoundServer | None,
        *,
        name: str,
        on_block: Callable[[bytes, float, StreamFormat], None],
        on_change: Callable[[], None],
    ) -> None:
        self._sd = sd
        self._device = device
        self._channel = channel
        self._server = server
        self._on_block = on_block
        self._on_change = on_change
        self._route: Route | None = None
        self._raw: Any = None
        self._ended = False
        self._last_frame_s: float | None = None
        self._last_sound_s = 0.0
        self.format = StreamFormat(device.label, 0, 0)
        self.warning = ""
        try:
            self._open(device)
            if server is not None:
                self._follow(server)
        except BaseException:
            self._close_server()
            raise
        source = self._route.source if self._route else None
        if source is not None:
            self.format = replace(self.format, source=source.description)
        self._judge = Judge(
            time.monotonic(),
            self._route,
            wanted=device.source if device.is_tied else "",
            may_be_monitor=device.is_tied and bool(name),
        )
        if server is not None and self._route is not None:
            server.watch(self._note_route)

    def _open(self, device: InputDevice, ask_for: str = "") -> None:
        self._ended, self._last_frame_s, self._last_sound_s = False, None, time.monotonic()
        counts = portaudio.channel_counts(self._channel, device)
        with environment(_asking_for(ask_for or (device.source if device.is_source else ""))):
            self._raw, self.format = portaudio.open_stream(
                self._sd, device, counts, on_block=self._take, on_end=self._note_end
            )

    def _follow(self, server: SoundServer) -> None:
        """Look where the server takes the stream from, and open it anew where that is another source than expected.

        Servers remember where somebody once moved a program's stream. A monitor is not put up with: the default source
        is asked for by its name then. Any other source may have channels of its own.
        """
        self._route = server.new_route()
        source, device = self._route.source if self._route else None, self._device
        if source is not None and source.name != device.source and not device.is_tied:
            self._close_raw()
            if source.is_monitor and device.source and not device.is_monitor:
                self._open(device, ask_for=device.source)
            else:
                if self._channel > len(source.channels):
                    raise no_channel(source.description, self._channel, len(source.channels))
                self._open(leading_to(device, source, is_tied=False))
            self._route = server.new_route()
        source = self._route.source if self._route else None
        if self._route and source and self._route.is_mix and not (device.is_tied and source.name != device.source):
            self.warning = (
                f"channel {self._channel} cannot be had alone: the sound server mixes the "
                f'{len(source.channels)} channels of "{source.description}"'
            )

    def judge(self) -> StreamHealth:
        """Say what the stream is good for now."""
        seen = Seen(time.monotonic(), self._last_frame_s, self._last_sound_s, self._ended, self._route)
        return self._judge.judge(seen)

    def close(self) -> None:
        """Close it; may take long where a device is dead."""
        self._close_server()
        self._close_raw()

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()

    def _close_raw(self) -> None:
        deadline_s = time.monotonic() + SILENT_S
        while self._last_frame_s is None and not self._ended and time.monotonic() < deadline_s:
            time.sleep(0.01)  # until it is sure that its thread is, or is not, in the callback
        silent = self._last_frame_s is None or time.monotonic() - self._last_frame_s > SILENT_S
        portaudio.close_stream(self._raw, is_silent=silent)

    # On PortAudio's thread, and the sound server's.

    def _take(self, pcm: bytes, missing_s: float, form: StreamFormat) -> None:
        now_s = time.monotonic()
        samples = np.frombuffer(pcm, np.int16)[min(self._channel, form.channels) - 1 :: form.channels]
        if samples.min() != samples.max():
            self._last_sound_s = now_s
        self._last_frame_s = now_s
        self._on_block(pcm, missing_s, form)

    def _note_end(self) -> None:
        self._ended = True
        self._on_change()

    def _note_route(self, route: Route | None) -> None:
        self._route = route
        self._on_change()


def _asking_for(source: str) -> Mapping[str, str]:
    """Return the variables by which a stream that is opened comes from this source: ALSA's plug-ins read them."""
    if not source:
        return {}
    asked = {"PULSE_SOURCE": source, "PIPEWIRE_NODE": source.removesuffix(".monitor")}
    if source.endswith(".monitor"):  # PipeWire's own plug-in knows one by what it listens to
        asked["PIPEWIRE_PROPS"] = "{ stream.capture.sink = true }"
    return asked
