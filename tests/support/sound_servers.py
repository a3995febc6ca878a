"""Sound servers as on a desk, a microphone and loudspeakers, on PulseAudio and on PipeWire: programs hear the default.

Both answer to ``pactl``. The microphone is fed as in `virtual_microphone`; the loudspeakers' monitor is another source.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from support import virtual_microphone
from support.virtual_microphone import NAME, VirtualMicrophone

if TYPE_CHECKING:
    from collections.abc import Iterator

MICROPHONE, MONITOR = "microphone", "speakers.monitor"

# Beside what hears the server's default, a PCM tied to the microphone and one tied to the monitor.
ALSA_CONFIGURATION = """
pcm.default {{ type pulse server "unix:{socket}" }}
ctl.default {{ type pulse server "unix:{socket}" }}
pcm."{name}" {{ type pulse server "unix:{socket}" device microphone }}
pcm."Loopback" {{ type pulse server "unix:{socket}" device "speakers.monitor" }}
"""


class Desk(VirtualMicrophone):
    """PulseAudio with a microphone, loudspeakers, and the module that moves a stream whose source goes."""

    def __init__(self, rate_hz: int = 16_000, channels: int = 1, positions: str = "") -> None:
        """As `VirtualMicrophone`; ``positions`` name the microphone's channels, such as ``aux0,aux1``."""
        self._channels = channels
        self._positions = f" channel_map={positions}" if positions else ""
        super().__init__(rate_hz, channels)
        self.pactl("set-default-source", MICROPHONE)

    def _alsa_configuration(self) -> str:
        return ALSA_CONFIGURATION

    def _modules(self, sample_spec: str) -> tuple[str, ...]:
        *devices, protocol = super()._modules(sample_spec + self._positions)
        speakers = "module-null-sink sink_name=speakers rate=48000 channels=2 norewinds=1"
        return (*devices, speakers, "module-rescue-streams", protocol)

    def pactl(self, *arguments: str) -> str:
        """Run it on this server and return what it says."""
        command = ["pactl", *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    def unplug(self) -> None:
        """Take the microphone away."""
        modules = [line.split() for line in self.pactl("list", "short", "modules").splitlines()]
        (number,) = [words[0] for words in modules if "module-remap-source" in words]
        self.pactl("unload-module", number)

    def plug(self) -> None:
        """Bring it back, as the default source."""
        self.pactl("load-module", *self._microphone())
        self.pactl("set-default-source", MICROPHONE)

    def _microphone(self) -> tuple[str, ...]:
        return ("module-remap-source", f"source_name={MICROPHONE}", "master=mouth.monitor")

    def streams(self) -> list[str]:
        """The numbers of the streams that programs record."""
        own = [line.split() for line in self.pactl("list", "short", "source-outputs").splitlines()]
        return [words[0] for words in own if words[2] != "-"]


class PipeWireDesk(Desk):
    """The same on PipeWire, with WirePlumber and pipewire-pulse."""

    programs = ("pipewire", "wireplumber", "pipewire-pulse")

    def __init__(self, rate_hz: int = 16_000, channels: int = 1, positions: str = "") -> None:
        self._rate_hz = rate_hz
        self._others: list[subprocess.Popen[bytes]] = []
        super().__init__(rate_hz, channels, positions)

    def _command(self, sample_spec: str) -> list[str]:
        bus = f"unix:path={self._folder}/bus"
        return ["setpriv", "--pdeathsig=KILL", "--", "dbus-daemon", "--session", "--nofork", f"--address={bus}"]

    def _wait_until_it_answers(self) -> None:
        for program in self.programs:
            with self._log.open("ab") as log:
                command = ["setpriv", "--pdeathsig=KILL", "--", program]
                self._others.append(subprocess.Popen(command, env=self._private_env(), stdout=log, stderr=log))
        super()._wait_until_it_answers()
        spec = f"rate={self._rate_hz} channels={self._channels}{self._positions}"
        self._load("mouth", "module-null-sink", "sink_name=mouth", *spec.split())
        self._load(MICROPHONE, *self._microphone())
        self._load(MONITOR, "module-null-sink", "sink_name=speakers")

    def _private_env(self) -> dict[str, str]:
        private = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(self._folder))
        bus = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self._folder}/bus"}
        return self.env | private | bus

    def _load(self, makes: str, *module: str) -> None:
        """Load a module and wait for the source it makes; a session manager takes its time."""
        deadline = time.monotonic() + virtual_microphone.START_LIMIT_S
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.pactl("load-module", *module)
                break
            if time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text(errors="replace"))
            time.sleep(0.1)
        while makes not in self.pactl("list", "short", "sources"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {makes}: {self._log.read_text(errors='replace')}")
            time.sleep(0.05)

    def _microphone(self) -> tuple[str, ...]:
        spec = f"channels={self._channels}{self._positions}"
        if self._positions:
            spec += f" master_{self._positions.strip()} remix=no"
        return (*super()._microphone(), *spec.split())

    def plug(self) -> None:
        """Bring it back, as the default source."""
        self._load(MICROPHONE, *self._microphone())
        self.pactl("set-default-source", MICROPHONE)

    def close(self) -> None:
        """End all of it."""
        for process in reversed(self._others):
            process.kill()
            process.wait()
        super().close()


SERVERS = {"PulseAudio": Desk, "PipeWire": PipeWireDesk}


def missing_programs(server: str) -> list[str]:
    """What a server needs that is not installed."""
    needed = ("pulseaudio", "pactl", *(("dbus-daemon", *PipeWireDesk.programs) if server == "PipeWire" else ()))
    return [program for program in needed if shutil.which(program) is None]


@contextlib.contextmanager
def desk(server: str, rate_hz: int = 16_000, channels: int = 1, positions: str = "") -> Iterator[Desk]:
    """A desk for one block."""
    it = SERVERS[server](rate_hz, channels, positions)
    try:
        yield it
    finally:
        it.close()


__all__ = ["MICROPHONE", "MONITOR", "NAME", "SERVERS", "Desk", "desk", "missing_programs"]
