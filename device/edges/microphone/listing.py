"""Every input that can be chosen: PortAudio's devices, and the sources of a sound server where ALSA leads to one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from device.edges.microphone import portaudio
from device.edges.microphone.alsa import definition_of
from device.edges.microphone.inputs import Choice, InputDevice, choose
from device.edges.microphone.soundserver import SoundServer
from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from device.edges.microphone.soundserver import Source


def devices() -> list[InputDevice]:
    """List the inputs with the rates they offer; call it only where no ``Microphone`` runs.

    Raises:
        MicrophoneUnavailableError: PortAudio is missing or does not start.
    """
    with portaudio.initialised() as sd:
        return [replace(device, rates_hz=portaudio.rates_of(sd, device)) for device in inputs(sd)]


def inputs(sd: Any) -> list[InputDevice]:
    """List the inputs, PortAudio's first, without trying their rates.

    Args:
        sd: what `portaudio.initialised` gives.
    """
    with SoundServer.connect() or contextlib.nullcontext() as server:
        return _with_sources(portaudio.inputs(sd), server)


def find(sd: Any, name: str, channel: int) -> tuple[Choice, SoundServer | None]:
    """Find the input that a configured name means, and the sound server that may stand behind it, to be closed.

    Raises:
        MicrophoneUnavailableError: there is none.
    """
    found = portaudio.inputs(sd)
    with contextlib.suppress(MicrophoneUnavailableError):
        choice = choose(found, name, channel)
        if choice.device.is_card:
            return choice, None
    with contextlib.ExitStack() as stack:
        if server := SoundServer.connect():
            stack.enter_context(server)
        choice = choose(_with_sources(found, server), name, channel)
        stack.pop_all()
        return choice, server


def _with_sources(found: list[InputDevice], server: SoundServer | None) -> list[InputDevice]:
    """Add what a sound server says of PortAudio's devices, and its sources; None: there is no server."""
    if server is None:
        return found
    refined: list[InputDevice] = []
    door: InputDevice | None = None  # the way to any source of the server, the default first
    for device in found:
        definition = definition_of(device.name)
        if device.is_card or not definition.is_server:
            refined.append(device)
            continue
        source = server.source(definition.source)
        if source is not None:
            refined.append(leading_to(device, source, is_tied=bool(definition.source)))
        if not definition.source and (door is None or device.is_default):
            door = device
    return refined + ([_as_device(source, door) for source in server.sources()] if door else [])


def leading_to(device: InputDevice, source: Source, *, is_tied: bool) -> InputDevice:
    """Say of a device what the source behind it says: PortAudio only knows what the plug-in could convert."""
    return replace(
        device,
        max_channels=len(source.channels),
        source=source.name,
        is_tied=is_tied,
        is_monitor=source.is_monitor,
        is_mixed=source.is_mixed,
    )


def _as_device(source: Source, door: InputDevice) -> InputDevice:
    device = InputDevice(door.index, door.name, source.description, address=source.name)
    return leading_to(device, source, is_tied=True)
