"""A microphone without hardware: PulseAudio's null sink, its monitor as ALSA's default capture device, paplay as mouth.

What is played arrives in PortAudio as from a real microphone, in real time, also as root and without a session or
D-Bus. Everything (socket, state, ALSA configuration) lives in one folder, so that nothing on the machine is touched and
several can run at once. Played at the sink's own rate, 16 kHz mono arrives bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

NAME = "Virtual Microphone"
PACKAGES = {"pulseaudio": "pulseaudio", "paplay": "pulseaudio-utils"}  # each program's Debian package
START_LIMIT_S = 20.0

# PortAudio lists each PCM of ALSA's configuration by its name; here are no others, so the machine's own stay unheard.
ALSA_CONFIGURATION = """
pcm."{name}" {{ type pulse server "unix:{socket}" device microphone }}
pcm.default {{ type pulse server "unix:{socket}" device microphone }}
ctl.default {{ type pulse server "unix:{socket}" }}
"""


class VirtualMicrophone:
    """A PulseAudio that runs until ``close``; ``env`` lets any program's PortAudio hear what ``play`` plays.

    Attributes:
        env: this process's environment and ``settings``: the ``env`` of a subprocess.
        settings: the variables that make the difference, for a test that sets them in its own process.
        folder: everything of it.
        log: what the server says.
        server: the server's process.
    """

    def __init__(self, rate_hz: int = 16_000, channels: int = 1) -> None:
        """Start PulseAudio and return once it answers.

        Args:
            rate_hz: the rate of the sink and the source; programs that ask for another get it resampled.
            channels: how many channels they have; each keeps its own sound for who asks for as many.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="virtual-microphone-"))  # short: a socket's path has 107 bytes
        self._socket = self.folder / "pulse" / "native"  # where PipeWire puts it, too
        self._socket.parent.mkdir()
        alsa = self.folder / "alsa.conf"
        alsa.write_text(self.alsa_configuration().format(name=NAME, socket=self._socket))
        private = ("HOME", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
        self.settings = {
            "ALSA_CONFIG_PATH": str(alsa),
            "PULSE_SERVER": f"unix:{self._socket}",
            "JACK_NO_START_SERVER": "1",
        }
        self.env = os.environ | self.settings
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                self.server_command(f"format=s16le rate={rate_hz} channels={channels}"),
                env=self.env | dict.fromkeys(private, str(self.folder)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.close()
            raise

    def server_command(self, sample_spec: str) -> list[str]:
        """Return how to start PulseAudio with exactly these modules; setpriv ends it even when the tests are killed."""
        options = (
            "-n",
            "--daemonize=no",
            "--system=false",
            "--use-pid-file=no",
            "--exit-idle-time=-1",
            "--disallow-exit",
        )
        thrift = ("--realtime=no", "--high-priority=no", "--disable-shm=yes")
        loads = [f"--load={module}" for module in self.modules(sample_spec)]
        return ["setpriv", "--pdeathsig=KILL", "--", "pulseaudio", *options, *thrift, *loads]

    def alsa_configuration(self) -> str:
        """Return what PortAudio is to find; ``{name}`` and ``{socket}`` are put in."""
        return ALSA_CONFIGURATION

    def modules(self, sample_spec: str) -> tuple[str, ...]:
        """Return what PulseAudio loads, in this order."""
        # norewinds: else a null sink renders 2 s ahead, and PortAudio spins until the monitor's first frames are there.
        return (
            f"module-null-sink sink_name=mouth norewinds=1 {sample_spec}",
            "module-remap-source source_name=microphone master=mouth.monitor",
            # The last one, so that whoever can connect finds the rest in place.
            f"module-native-protocol-unix socket={self._socket} auth-anonymous=1 auth-cookie-enabled=0",
        )

    def wait_until_it_answers(self) -> None:
        """Return once programs can connect.

        Raises:
            RuntimeError: none could in time, with what the server says.
        """
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(self._socket))
                return
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PulseAudio does not answer: {self.log.read_text(errors='replace')}")
            time.sleep(0.02)  # between two looks at the condition above

    def play(self, wav: Path, positions: str = "") -> None:
        """Say a recording into the microphone, in real time; returns when the last sample was said."""
        with self.playing(wav, positions=positions) as process:
            process.wait()
        if process.returncode:
            raise RuntimeError(f"paplay ended with {process.returncode} on {wav}")

    @contextlib.contextmanager
    def playing(self, wav: Path, *, sink: str = "mouth", positions: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """Say a recording while the block runs; what is left of it at the block's end is not said."""
        command = ["paplay", f"--device={sink}", *([f"--channel-map={positions}"] if positions else []), str(wav)]
        process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def play_samples(self, samples: npt.NDArray[np.int16], rate_hz: int = 16_000, positions: str = "") -> None:
        """Say int16 samples, shape (n,) or (n, channels), whose channels are those of ``positions``, if given."""
        wav = self.folder / "said.wav"
        soundfile.write(wav, samples, rate_hz, subtype="PCM_16")
        self.play(wav, positions)

    def listeners(self) -> list[str]:
        """What PulseAudio says of each stream that records from the microphone now, a line each."""
        command = ["pactl", "list", "short", "source-outputs"]
        listed = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if "protocol-native" in line]  # the other one is the remapping

    def close(self) -> None:
        """End PulseAudio and remove its folder; a program still listening sees its device fail."""
        self.server.kill()
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def virtual_microphone(rate_hz: int = 16_000, channels: int = 1) -> Iterator[VirtualMicrophone]:
    """A microphone for one block, or for a fixture of any scope that yields from it.

    Raises:
        RuntimeError: a program is missing (the message names its Debian package) or does not start.
    """
    if missing := missing_programs():
        raise RuntimeError(f"missing: apt-get install {' '.join(missing)} libasound2-plugins libportaudio2")
    microphone = VirtualMicrophone(rate_hz, channels)
    try:
        yield microphone
    finally:
        microphone.close()


def missing_programs() -> list[str]:
    """Return the Debian packages of the programs that are missing."""
    return [package for program, package in PACKAGES.items() if shutil.which(program) is None]


LOUDSPEAKER = "Virtual Loudspeaker"


class VirtualPair(VirtualMicrophone):
    """The same with a loudspeaker that PortAudio can play into: what is played there, the microphone hears."""

    def alsa_configuration(self) -> str:
        """As the microphone's, and a loudspeaker."""
        speaker = 'pcm."{speaker}" {{ type pulse server "unix:{socket}" device mouth }}\n'
        return ALSA_CONFIGURATION + speaker.replace("{speaker}", LOUDSPEAKER)
