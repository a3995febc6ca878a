"""PortAudio through sounddevice: loaded late and quietly, its devices listed and opened."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import time
from typing import TYPE_CHECKING, Any

from device.edges.microphone.blocks import StreamFormat
from device.edges.microphone.inputs import InputDevice, address_of, label_of
from device.edges.microphone.ports import port_of
from device.edges.microphone.timing import StreamClock
from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RATES_HZ = (16_000, 48_000, 44_100, 32_000, 96_000, 8_000)  # as preferred: no conversion first, telephone sound last
# What ALSA buffers: so late may a callback come that waits for the interpreter. PortAudio hands over a quarter of it at
# a time, one wake frame: Python wakes 12.5 times a second, which costs 0.3 % of a desktop core.
LATENCY_S = 0.32
DEVICE_UNAVAILABLE = -9985  # PortAudio's code when another program holds the device: no other format would help


@functools.cache
def load() -> Any:
    """Import sounddevice and leave PortAudio uninitialised: nothing is held, and no exit handler waits for a device.

    Raises:
        MicrophoneUnavailableError: the library, a package of its own in Debian, is missing.
    """
    try:
        import sounddevice as sd
    except OSError as error:
        raise MicrophoneUnavailableError(
            f"PortAudio cannot be loaded ({error})", hint="install it: sudo apt install libportaudio2"
        ) from error
    sd._terminate()  # noqa: SLF001 - there is no public way
    # sounddevice decodes every device's name, and one that is no UTF-8 (the kernel cuts long ones inside a character)
    # would hide all the others: every name is made printable before.
    sd._ffi_string = lambda text: printable(sd._ffi.string(text)).encode()  # noqa: SLF001
    _silence_c_libraries()
    return sd


def _silence_c_libraries() -> None:
    """Point C's ``stderr`` (not descriptor 2, where Python writes) at nothing, for good.

    At each look for devices, and from PortAudio's own thread, ALSA, JACK and PortAudio write dozens of lines there, in
    no log format. sounddevice hides them by turning descriptor 2 away meanwhile, and other threads' log with it.
    """
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    ctypes.c_void_p.in_dll(libc, "stderr").value = libc.fopen(os.devnull.encode(), b"w")


@contextlib.contextmanager
def initialised() -> Iterator[Any]:
    """PortAudio for one block, which sees the devices that are there now; leaving it ends every stream.

    Raises:
        MicrophoneUnavailableError: PortAudio is missing, or a call into it failed.
    """
    sd = load()
    try:
        sd._check(sd._lib.Pa_Initialize(), "PortAudio does not start")  # noqa: SLF001 - the public way: see load()
    except sd.PortAudioError as error:
        raise MicrophoneUnavailableError(str(error)) from error
    try:
        yield sd
    except sd.PortAudioError as error:  # whose text asks PortAudio, which must not have ended before
        raise MicrophoneUnavailableError(str(error)) from error
    finally:
        sd._lib.Pa_Terminate()  # noqa: SLF001


def inputs(sd: Any) -> list[InputDevice]:
    """List the devices that can record, in PortAudio's order, without trying their rates.

    Args:
        sd: what ``initialised`` gives.
    """
    default = _default_index(sd)
    return [
        InputDevice(
            index=device["index"],
            name=device["name"],
            label=label_of(device["name"]),
            address=(address := address_of(device["name"])),
            port=port_of(int(address[3:].split(",")[0])) if address else "",
            max_channels=device["max_input_channels"],
            is_default=device["index"] == default,
        )
        for device in sd.query_devices()
        if device["max_input_channels"] > 0
    ]


def printable(name: bytes) -> str:
    """Return a device's name with what is no UTF-8, or could steer a terminal, escaped."""
    text = name.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _default_index(sd: Any) -> int | None:
    with contextlib.suppress(sd.PortAudioError):  # raised where there is none
        index: int = sd.query_devices(kind="input")["index"]
        return index
    return None


def channel_counts(channel: int, device: InputDevice) -> list[int]:
    """Return counts worth trying that include a channel, best first.

    Of a sound server's source all channels are opened: with another count the server would mix them, and if it does so
    anyway, one is as good as all. ALSA's plug-ins mix too if they are asked for one channel, and give the first ones if
    they are asked for two or more; they may offer thousands.
    """
    most = device.max_channels
    if device.source:
        return [1 if device.is_mixed else most]
    return sorted(count for count in {channel, 2, 4, 6, 8, most} if max(channel, min(2, most)) <= count <= most)


def rates_of(sd: Any, device: InputDevice) -> tuple[int, ...]:
    """Return those of RATES_HZ that a device offers, ascending."""
    return tuple(rate_hz for rate_hz in sorted(RATES_HZ) if _offers(sd, device, rate_hz))


def _offers(sd: Any, device: InputDevice, rate_hz: int) -> bool:
    for channels in channel_counts(1, device):
        with contextlib.suppress(sd.PortAudioError):
            sd.check_input_settings(device.index, channels, "int16", samplerate=rate_hz)
            return True
    return False


def open_stream(
    sd: Any,
    device: InputDevice,
    counts: Sequence[int],
    *,
    on_block: Callable[[bytes, float, StreamFormat], None],
    on_end: Callable[[], None],
) -> tuple[Any, StreamFormat]:
    """Open and start a device at the first rate, and there the first count of channels, that it offers.

    Args:
        sd: what ``initialised`` gives.
        device: what to open.
        counts: how many channels to try, best first.
        on_block: called on PortAudio's thread with the interleaved int16 PCM, the seconds that are missing before it,
            and the stream's format.
        on_end: called on PortAudio's thread when the stream ends, by itself or not.

    Raises:
        MicrophoneUnavailableError: it cannot be opened now.
    """
    problem: Exception | None = None
    for rate_hz, channels in itertools.product(RATES_HZ, counts):
        opened = StreamFormat(device.label, rate_hz, channels)
        try:
            return _started(sd, device, opened, on_block, on_end), opened
        except sd.PortAudioError as error:
            problem = error
            if DEVICE_UNAVAILABLE in error.args:
                break
    raise MicrophoneUnavailableError(
        f'"{device.label}" cannot be opened: {problem}', hint="does another program hold it?"
    )


def _started(
    sd: Any,
    device: InputDevice,
    opened: StreamFormat,
    on_block: Callable[[bytes, float, StreamFormat], None],
    on_end: Callable[[], None],
) -> Any:
    stream = sd.RawInputStream(
        device=device.index,
        samplerate=opened.rate_hz,
        channels=opened.channels,
        dtype="int16",
        blocksize=0,  # as ALSA gives them: where PortAudio cuts blocks anew, its word of an overrun gets lost
        latency=LATENCY_S,
        callback=functools.partial(_deliver, on_block, StreamClock(opened.rate_hz), opened),
        finished_callback=on_end,
    )
    try:
        stream.start()
    except sd.PortAudioError:
        stream.close()
        raise
    return stream


def _deliver(
    on_block: Callable[[bytes, float, StreamFormat], None],
    clock: StreamClock,
    opened: StreamFormat,
    data: Any,
    frames: int,
    times: Any,
    status: Any,
) -> None:
    began_s = _monotonic_s(times.currentTime) - (times.currentTime - times.inputBufferAdcTime)
    on_block(bytes(data), clock.missing_s(began_s, frames, overflowed=bool(status.input_overflow)), opened)


def _monotonic_s(stream_s: float) -> float:
    """Return a time just past, by the stream's clock, as one by ``time.monotonic``.

    The stream's clock is that one for a card of its own, the wall's behind a plug-in of ALSA's. How long ago it was is
    counted: the callback may have waited for the interpreter's lock since.
    """
    now_s = time.monotonic()
    return now_s - min(abs(clock_s - stream_s) for clock_s in (now_s, time.time()))


def close_stream(stream: Any, *, is_silent: bool) -> None:
    """Stop and close a stream.

    Stopping waits for PortAudio's thread, which never comes while a device is silent (measured: 98 s and no end).
    Aborting cancels that thread (1 ms), which must not happen while it is in the callback: if it waits there for the
    interpreter's lock, nobody gets that lock again.

    Args:
        stream: what ``open_stream`` gave.
        is_silent: no callback came for so long that the thread is not in one.
    """
    (stream.abort if is_silent else stream.stop)()
    stream.close()
