"""PortAudio through sounddevice: loaded late and quietly, its devices listed, found by name and opened."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device.edges.microphone.blocks import StreamFormat
from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATES_HZ = (16_000, 48_000, 44_100, 32_000, 96_000, 8_000)  # as preferred: no conversion first, telephone sound last
BLOCK_S = 0.08  # one wake frame: Python wakes 12.5 times a second, which costs 0.3 % of a desktop core
LATENCY_S = 0.2  # ALSA's buffer: how late a callback that waits for the interpreter's lock may come
DEVICE_UNAVAILABLE = -9985  # PortAudio's code when another program holds the device: no other format would help


@dataclass(frozen=True, slots=True)
class InputDevice:
    """One device that can record.

    Attributes:
        index: PortAudio's number; replugging may change it.
        name: PortAudio's name, such as ``USB PnP Sound Device: Audio (hw:1,0)``.
        label: the name before the space and ``(hw:``, which replugging does not change.
        rates_hz: those of RATES_HZ that it offers, ascending.
        max_channels: how many channels it offers at most.
        is_default: heard where no name is configured.
    """

    index: int
    name: str
    label: str
    rates_hz: tuple[int, ...]
    max_channels: int
    is_default: bool


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
        try:
            yield sd
        finally:
            sd._lib.Pa_Terminate()  # noqa: SLF001
    except sd.PortAudioError as error:
        raise MicrophoneUnavailableError(str(error)) from error


def devices() -> list[InputDevice]:
    """List the devices that can record, in PortAudio's order; call it only where no ``Microphone`` runs.

    Raises:
        MicrophoneUnavailableError: PortAudio is missing or does not start.
    """
    with initialised() as sd:
        default = _default_index(sd)
        return [
            InputDevice(
                index=device["index"],
                name=device["name"],
                label=label_of(device["name"]),
                rates_hz=tuple(rate_hz for rate_hz in sorted(RATES_HZ) if _offers(sd, device, rate_hz)),
                max_channels=device["max_input_channels"],
                is_default=device["index"] == default,
            )
            for device in _inputs(sd)
        ]


def label_of(name: str) -> str:
    """Return the part of PortAudio's name that stays when the device is plugged in again."""
    return name.split(" (hw:", maxsplit=1)[0]


def _inputs(sd: Any) -> list[dict[str, Any]]:
    return [device for device in sd.query_devices() if device["max_input_channels"] > 0]


def _default_index(sd: Any) -> int | None:
    with contextlib.suppress(sd.PortAudioError):  # raised where there is none
        index: int = sd.query_devices(kind="input")["index"]
        return index
    return None


def _channel_counts(channel: int, most: int) -> list[int]:
    """Counts worth trying that include ``channel``, fewest first; a plug-in may offer up to 128."""
    return sorted(count for count in {channel, 2, 4, 6, 8, most} if channel <= count <= most)


def _offers(sd: Any, device: dict[str, Any], rate_hz: int) -> bool:
    for channels in _channel_counts(1, device["max_input_channels"]):
        with contextlib.suppress(sd.PortAudioError):
            sd.check_input_settings(device["index"], channels, "int16", samplerate=rate_hz)
            return True
    return False


def find(sd: Any, name: str, channel: int) -> dict[str, Any]:
    """Return the first device whose label holds ``name`` and that has the channel; one named exactly so goes first.

    Args:
        sd: what ``initialised`` gives.
        name: in any case; empty: the system's default.
        channel: counted from 1.

    Raises:
        MicrophoneUnavailableError: there is none.
    """
    inputs = _inputs(sd)
    wanted = name.casefold()
    if name:
        matching = [device for device in inputs if wanted in label_of(device["name"]).casefold()]
        matching.sort(key=lambda device: label_of(device["name"]).casefold() != wanted)
    else:
        default = _default_index(sd)
        matching = [device for device in inputs if device["index"] == default]
    if not matching:
        found = ", ".join(f'"{label_of(device["name"])}"' for device in inputs) or "none"
        what = f'no input device has "{name}" in its name' if name else "there is no default input device"
        # PortAudio leaves out what it cannot open while it looks: a device in use is not there at all.
        raise MicrophoneUnavailableError(
            f"{what} (found: {found})", hint="plug it in, end another program that holds it, or choose another device"
        )
    for device in matching:
        if device["max_input_channels"] >= channel:
            return device
    first = matching[0]
    raise MicrophoneUnavailableError(
        f'"{label_of(first["name"])}" has no channel {channel}', hint=f"it has 1 to {first['max_input_channels']}"
    )


def open_stream(
    sd: Any,
    device: dict[str, Any],
    channel: int,
    *,
    on_block: Callable[[bytes, bool, StreamFormat], None],
    on_end: Callable[[], None],
) -> tuple[Any, StreamFormat]:
    """Open and start a device at the first rate, and there the fewest channels, that it offers.

    Args:
        sd: what ``initialised`` gives.
        device: one of PortAudio's.
        channel: to be among the channels opened, counted from 1.
        on_block: called on PortAudio's thread with the interleaved int16 PCM, whether some before it is missing, and
            the stream's format.
        on_end: called on PortAudio's thread when the stream ends, by itself or not.

    Raises:
        MicrophoneUnavailableError: it cannot be opened now.
    """
    label = label_of(device["name"])
    problem: Exception | None = None
    for rate_hz, channels in itertools.product(RATES_HZ, _channel_counts(channel, device["max_input_channels"])):
        opened = StreamFormat(label, rate_hz, channels)
        try:
            stream = sd.RawInputStream(
                device=device["index"],
                samplerate=rate_hz,
                channels=channels,
                dtype="int16",
                blocksize=round(rate_hz * BLOCK_S),
                latency=LATENCY_S,
                callback=functools.partial(_deliver, on_block, opened),
                finished_callback=on_end,
            )
            try:
                stream.start()
            except sd.PortAudioError:
                stream.close()
                raise
        except sd.PortAudioError as error:
            problem = error
            if DEVICE_UNAVAILABLE in error.args:
                break
        else:
            return stream, opened
    raise MicrophoneUnavailableError(f'"{label}" cannot be opened: {problem}', hint="does another program hold it?")


def _deliver(
    on_block: Callable[[bytes, bool, StreamFormat], None],
    opened: StreamFormat,
    data: Any,
    _frames: int,
    _time: Any,
    status: Any,
) -> None:
    on_block(bytes(data), status.input_overflow, opened)


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
