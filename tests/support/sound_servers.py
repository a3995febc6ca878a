"""Sound servers as on a desk, a microphone and loudspeakers, on PulseAudio and on PipeWire: programs hear the default.

Both answer to ``pactl``. The microphone is fed as in `device.hil.virtual`; the loudspeakers' monitor is another source.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from device.hil import virtual
from device.hil.virtual import NAME, VirtualMicrophone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        self.make_default(MICROPHONE)

    def alsa_configuration(self) -> str:
        return ALSA_CONFIGURATION

    def modules(self, sample_spec: str) -> tuple[str, ...]:
        *devices, protocol = super().modules(sample_spec + self._positions)
        speakers = "module-null-sink sink_name=speakers rate=48000 channels=2 norewinds=1"
        return (*devices, speakers, "module-rescue-streams", protocol)

    def pactl(self, *arguments: str) -> str:
        """Run it on this server and return what it says."""
        command = ["pactl", *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    def make_default(self, source: str) -> None:
        """Make a source the server's default."""
        self._repeat(
            lambda: self.pactl("set-default-source", source), lambda: self.pactl("get-default-source") == source
        )

    def move(self, source: str) -> None:
        """Move the one stream that a program records to another source; it may be gone once it is there."""

        def command() -> None:
            for stream in self.streams():
                self.pactl("move-source-output", stream, source)

        def is_there() -> bool:
            numbers = [
                line.split()[0] for line in self.pactl("list", "short", "sources").splitlines() if source in line
            ]
            lines = self.pactl("list", "short", "source-outputs").splitlines()
            return all(line.split()[1] in numbers for line in lines if line.split()[2] != "-")

        self._repeat(command, is_there)

    def _repeat(self, command: Callable[[], object], worked: Callable[[], bool]) -> None:
        """Give a command until it has worked: PipeWire's session manager passes over one now and then."""
        deadline = time.monotonic() + virtual.START_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                command()
                for _ in range(10):
                    if worked():
                        return
                    time.sleep(0.05)
        raise RuntimeError(f"{self.log.read_text(errors='replace')}")

    def unplug(self) -> None:
        """Take the microphone away."""
        modules = [line.split() for line in self.pactl("list", "short", "modules").splitlines()]
        (number,) = [words[0] for words in modules if "module-remap-source" in words]
        self.pactl("unload-module", number)

    def plug(self) -> None:
        """Bring it back, as the default source."""
        self.pactl("load-module", *self._microphone())
        self.make_default(MICROPHONE)

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

    def server_command(self, sample_spec: str) -> list[str]:
        bus = f"unix:path={self.folder}/bus"
        return ["setpriv", "--pdeathsig=KILL", "--", "dbus-daemon", "--session", "--nofork", f"--address={bus}"]

    def wait_until_it_answers(self) -> None:
        self._wait_for("bus")
        for program in self.programs:
            with self.log.open("ab") as log:
                command = ["setpriv", "--pdeathsig=KILL", "--", program]
                self._others.append(subprocess.Popen(command, env=self._private_env(), stdout=log, stderr=log))
            self._wait_for("pipewire-0")  # the others end where it is not there
        super().wait_until_it_answers()
        spec = f"rate={self._rate_hz} channels={self._channels}{self._positions}"
        self._load("mouth", "module-null-sink", "sink_name=mouth", *spec.split())
        self._load(MICROPHONE, *self._microphone())
        self._load(MONITOR, "module-null-sink", "sink_name=speakers")

    def _wait_for(self, name: str) -> None:
        deadline = time.monotonic() + virtual.START_LIMIT_S
        while not (self.folder / name).is_socket():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} is not there: {self.log.read_text(errors='replace')}")
            time.sleep(0.02)  # between two looks at the condition above

    def _private_env(self) -> dict[str, str]:
        private = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(self.folder))
        bus = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder}/bus"}
        return self.env | private | bus

    def _load(self, makes: str, *module: str) -> None:
        """Load a module and wait for the source it makes."""
        there = lambda: makes in self.pactl("list", "short", "sources")  # noqa: E731
        self._repeat(lambda: None if there() else self.pactl("load-module", *module), there)

    def _microphone(self) -> tuple[str, ...]:
        spec = f"channels={self._channels}{self._positions}"
        if self._positions:
            spec += f" master_{self._positions.strip()} remix=no"
        return (*super()._microphone(), *spec.split())

    def plug(self) -> None:
        """Bring it back, as the default source."""
        self._load(MICROPHONE, *self._microphone())
        self.make_default(MICROPHONE)

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
