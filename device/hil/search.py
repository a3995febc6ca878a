"""Who is to blame where a loudspeaker is not heard: itself, muted, or the microphone, of which another one hears it."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from device.edges.microphone import Block, Microphone, devices, distinct_name
from device.errors import MicrophoneUnavailableError
from device.hil.alignment import CHIRP_S, chirp, find_chirp

if TYPE_CHECKING:
    from device.edges.microphone import InputDevice
    from device.hil.rig import Rig

LISTEN_S = 2.5
SILENT_VOLUME = 0.01  # of the sound server's full volume


def why_unheard(rig: Rig) -> str:
    """Return in one line why the chirps of a bench were not heard, and what to do.

    The sound server is asked whether it mutes the loudspeaker, then every other microphone listens to it.
    """
    speaker, microphone = rig.speaker.device, rig.settings.microphone.name or "default"
    if muted := muted_sinks():
        return f'the microphone "{microphone}" does not hear the loudspeaker: it is muted there ({", ".join(muted)})'
    heard = [name for name in _others(rig) if _hears(rig, name)]
    if heard:
        found = ", ".join(f'"{name}"' for name in heard)
        return (
            f'the wrong microphone: "{microphone}" does not hear the loudspeaker "{speaker}"; it is heard by '
            f"{found}: name one by --hil-microphone"
        )
    return (
        f'no microphone hears the loudspeaker "{speaker}": it is muted, turned down or not connected (alsamixer, '
        "its own knob), or another one plays (--hil-speaker)"
    )


def muted_sinks() -> list[str]:
    """Return the sound server's outputs that this process plays to and that are muted or turned down to nothing.

    None where no server can be asked, or where this process does not play through it.
    """
    try:
        import pulsectl
    except OSError:  # libpulse is not installed
        return []
    with contextlib.ExitStack() as stack:
        try:
            server: Any = stack.enter_context(pulsectl.Pulse("wakeword-recorder-hil", connect=False))
            server.connect(autospawn=False)
            # By the client that owns the stream, for PipeWire's own streams do not name their process themselves.
            pid = str(os.getpid())
            own = {one.index for one in server.client_list() if one.proplist.get("application.process.id") == pid}
            streams = [stream for stream in server.sink_input_list() if stream.client in own]
            sinks = [sink for sink in server.sink_list() if sink.index in {stream.sink for stream in streams}]
            return [one.proplist.get("device.description") or one.name for one in [*sinks, *streams] if _is_silent(one)]
        except pulsectl.PulseError:
            return []


def _is_silent(output: Any) -> bool:
    return bool(output.mute) or float(output.volume.value_flat) < SILENT_VOLUME


def _others(rig: Rig) -> list[str]:
    """Return the names of the microphones that the bench does not listen to, monitors left out."""
    wanted = rig.settings.microphone.name.casefold()
    found: list[InputDevice] = devices()
    names = {distinct_name(one, found): None for one in found if not one.is_monitor and one.rates_hz}
    return [name for name in names if not wanted or wanted not in name.casefold()]


def _hears(rig: Rig, name: str) -> bool:
    """Play a chirp while a microphone listens; return whether it is in what it heard."""
    blocks: list[Any] = []
    try:
        with Microphone(name, 1, once=True) as microphone:
            rig.speaker.play(np.concatenate([np.zeros(8_000), chirp()]))
            deadline_s = time.monotonic() + LISTEN_S
            while time.monotonic() < deadline_s:
                match microphone.read(0.1):
                    case Block(samples):
                        blocks.append(samples)
    except MicrophoneUnavailableError:
        return False
    heard = np.concatenate(blocks) / 32768 if blocks else np.zeros(0)
    return len(heard) > 2 * CHIRP_S * 16_000 and find_chirp(heard) is not None
