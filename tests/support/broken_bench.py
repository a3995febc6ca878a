"""Runs ``scripts/hil`` as on hardware, a virtual pair in its place that is broken in one way (`test_hil_bench`)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from device.hil.virtual import LOUDSPEAKER, NAME, VirtualPair

OTHERS = """
pcm."Other Microphone" {{ type pulse server "unix:{socket}" device other }}
pcm."Other Loudspeaker" {{ type pulse server "unix:{socket}" device elsewhere }}
"""


class Desk(VirtualPair):
    """A pair, and another pair in a room of its own."""

    def alsa_configuration(self) -> str:
        return super().alsa_configuration() + OTHERS

    def modules(self, sample_spec: str) -> tuple[str, ...]:
        *devices, protocol = super().modules(sample_spec)
        elsewhere = f"module-null-sink sink_name=elsewhere norewinds=1 {sample_spec}"
        other = "module-remap-source source_name=other master=elsewhere.monitor"
        return (*devices, elsewhere, other, protocol)


def main(how: str, recordings: str) -> int:
    """Break it in one way, run, and return the exit status."""
    desk = Desk()
    players = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for sink in ("mouth", "elsewhere"):
                level = 0.1 if how == "loud room" and sink == "mouth" else 3 / 32768
                wav = Path(folder, f"{sink}.wav")
                soundfile.write(wav, np.random.default_rng(0).normal(0, level, 16_000 * 60), 16_000)
                players.append(subprocess.Popen(["paplay", f"--device={sink}", wav], env=desk.env))
            if how == "muted":
                subprocess.run(["pactl", "set-sink-mute", "elsewhere", "1"], env=desk.env, check=True)
            speaker = "Other Loudspeaker" if how in ("muted", "unheard") else LOUDSPEAKER
            microphone = "Other Microphone" if how == "other microphone" else NAME
            if how == "unheard":  # no microphone at all is in the room of the other loudspeaker
                subprocess.run(["pactl", "set-source-mute", "other", "1"], env=desk.env, check=True)
            names = ["--microphone", microphone, "--speaker", speaker]
            command = [sys.executable, "-P", "-m", "device.hil", *names, recordings]
            return subprocess.run(command, env=desk.env, check=False, timeout=90).returncode
    finally:
        for player in players:
            player.kill()
            player.wait()
        desk.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
