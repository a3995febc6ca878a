"""Clean Debian systems in folders, to install into: debootstrap makes each once, every test has a copy of its own.

A program runs there by chroot, with a /proc of its own; nothing of this machine is seen but the network, and nothing
stays mounted. As root only.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
MADE = Path("/var/tmp/wakeword-recorder-tests")  # noqa: S108 - only root may write into this folder
USER = "kim"  # a person without sudo
HOMES = {"root": "/root", USER: f"/home/{USER}"}
CHECKOUT = f"{HOMES[USER]}/wakeword-recorder"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_BY_SUDO = "EDITOR PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL SYSTEMD_OFFLINE http_proxy https_proxy no_proxy"
HANDED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
# In front of the real one, which does what it can without a running systemd, but refuses to start anything.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/var/log/systemctl
exec /usr/bin/systemctl $(echo "$*" | sed 's/ --now//')
"""
# As if a systemd ran: units' files are changed by the real one, and services are processes that end with the command.
SERVICES = r"""#!/bin/sh
echo "$*" >>/var/log/systemctl
verb= unit= units= options=
for word; do
  case "$word" in
    -*) options="$options $word" ;;
    *) if [ "$verb" ]; then unit=${word%.service} units="$units $unit"; else verb=$word; fi ;;
  esac
done
pid=/run/services/$unit
alive() { [ -e $pid ] && grep -q '^State:.[^Z]' "/proc/$(cat $pid)/status" 2>/dev/null; }  # nobody reaps them here
stop() {
  alive || return 0
  kill "$(cat $pid)"
  while alive; do sleep 0.05; done
}
start() {
  [ ! -e /run/services/refuse-$unit ] || return 1
  case $unit in
    mosquitto)
      install -d -o mosquitto -m 755 /run/mosquitto /var/log/mosquitto  # the unit's ExecStartPre
      setsid mosquitto -c /etc/mosquitto/mosquitto.conf 9>&- >/var/log/mosquitto.out 2>&1 &
      ;;
    *)
      command=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/$unit.service)
      export STATE_DIRECTORY=/var/lib/$unit CACHE_DIRECTORY=/var/cache/$unit
      install -d -o $unit -g audio -m 700 $STATE_DIRECTORY $CACHE_DIRECTORY
      setsid setpriv --reuid $unit --regid audio --init-groups $command 9>&- >>/var/log/$unit.out 2>&1 &
      ;;
  esac
  echo $! >$pid
  sleep 2
  alive
}
mkdir -p /run/services
case $verb in
  is-active) alive ;;
  start) alive || start ;;
  stop) stop ;;
  restart) stop; start ;;
  try-restart) if alive; then stop; start; fi ;;
  disable)
    for unit in $units; do
      pid=/run/services/$unit
      case "$options" in *--now*) stop ;; esac
    done
    /usr/bin/systemctl disable -q $units
    ;;
  *) exec /usr/bin/systemctl "$@" ;;
esac
"""
# A microphone as `device.hil.virtual` makes one, in the system itself.
SOUND = r"""
export PULSE_SERVER=unix:/run/sound/native ALSA_CONFIG_PATH=/run/sound/alsa.conf JACK_NO_START_SERVER=1
mkdir -p /run/sound
rm -f /run/sound/native
cat >$ALSA_CONFIG_PATH <<'X'
pcm."Virtual Microphone" { type pulse server "unix:/run/sound/native" device microphone }
pcm.default { type pulse server "unix:/run/sound/native" device microphone }
ctl.default { type pulse server "unix:/run/sound/native" }
X
options="-n --daemonize=no --system=false --use-pid-file=no --exit-idle-time=-1 --disallow-exit"
thrift="--realtime=no --high-priority=no --disable-shm=yes"
sink="sink_name=mouth norewinds=1 format=s16le rate=16000 channels=1"
HOME=/run/sound pulseaudio $options $thrift --load="module-null-sink $sink" \
  --load="module-remap-source source_name=microphone master=mouth.monitor" \
  --load="module-native-protocol-unix socket=/run/sound/native auth-anonymous=1" >/var/log/pulseaudio.out 2>&1 &
until [ -S /run/sound/native ]; do sleep 0.05; done
pacat --device=mouth --rate=16000 --channels=1 --volume=15000 /dev/urandom &  # a room is never silent
"""
ENTER = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


def obstacle() -> str:
    """Return why no such system can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "only root can enter another system's folder"
    return "" if shutil.which("debootstrap") else "not installed: debootstrap"


class DebianRoot:
    """A system of its own with git and no Python, a user, and the project's files as a repository of that user.

    Args:
        folder: where to put it.
        suite: Debian's name for the release.
        architecture: Debian's name for it.
    """

    def __init__(self, folder: Path, suite: str, architecture: str = "amd64") -> None:
        self.path = folder / f"{suite}-{architecture}"
        subprocess.run(["cp", "-a", "--reflink=auto", _made(suite, architecture), self.path], check=True)
        shutil.copy("/etc/resolv.conf", self.path / "etc" / "resolv.conf")
        authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        assert authorities, "no certificate authorities on this machine"
        shutil.copy(authorities, self.path / "authorities.pem")
        (self.path / "etc/apt/apt.conf.d/90tests").write_text('APT::Get::Assume-Yes "true";\n')
        (self.path / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
        self.run(f"useradd --create-home --shell /bin/bash {USER}")
        copy_project(self.path / "srv" / "upstream")
        self.run(f"chown -R {USER}: /srv/upstream")
        for what in ("init -q", "add -A", "-c user.name=x -c user.email=x@y commit -qm upstream"):
            self.run(f"git -C /srv/upstream {what}", user=USER)
        self.run(f"git clone -q /srv/upstream {CHECKOUT}", user=USER)

    def run(self, command: str, *, user: str = "root", status: int = 0) -> str:
        """Run a line of shell in the user's checkout, if it is there, and return what it printed on both outputs."""
        done = self.attempt(command, user=user)
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def allow_sudo(self) -> None:
        """Let the user do everything by sudo, as on a Raspberry Pi."""
        self.run("apt-get update -qq && apt-get install -qq sudo")
        lines = f'{USER} ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += "{KEPT_BY_SUDO}"\n'
        (self.path / "etc/sudoers.d/tests").write_text(lines)

    def install_systemd(self, stand_in: str = SYSTEMCTL) -> None:
        """Install systemd; ``systemctl`` changes files as it would, and is noted in /var/log/systemctl.

        Args:
            stand_in: with ``SERVICES`` it starts and stops services, too, as long as the command lasts.
        """
        self.run("apt-get update -qq && apt-get install -qq systemd")
        (self.path / "usr/local/bin/systemctl").write_text(stand_in)
        (self.path / "usr/local/bin/systemctl").chmod(0o755)

    def install_microphone(self) -> None:
        """Install what a command that begins with ``SOUND`` needs for its microphone."""
        self.run(
            "apt-get update -qq && "
            "apt-get install -qq --no-install-recommends pulseaudio pulseaudio-utils libasound2-plugins"
        )

    def attempt(self, command: str, *, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a line of shell there, whatever its status."""
        settings = {
            "PATH": PATH,
            "HOME": HOMES[user],
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "EDITOR": "true",
            "SYSTEMD_OFFLINE": "1",
            "PIP_CERT": "/authorities.pem",
            **{name: os.environ[name] for name in HANDED_ON if name in os.environ},
        }
        line = f"cd {CHECKOUT} 2>/dev/null; set -e; {command}"
        shell = ["runuser", "-u", user, "--", "env", "-i", *(f"{key}={value}" for key, value in settings.items())]
        return self._enter([*shell, "bash", "-c", line])

    def _enter(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        options = [
            "--mount",
            "--propagation=private",
            "--pid",
            "--fork",
            "--kill-child",
        ]  # nothing outlives the command
        namespace = ["unshare", *options, "--", "sh", "-c", ENTER, str(self.path)]
        return subprocess.run(
            [*namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path)


def _made(suite: str, architecture: str) -> Path:
    """Return a system as debootstrap makes it; the first time this takes a minute and the network."""
    made = MADE / f"{suite}-{architecture}"
    if not made.exists():
        MADE.mkdir(mode=0o755, exist_ok=True)
        half = made.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        options = ["--variant=minbase", "--include=ca-certificates,git", f"--arch={architecture}"]
        subprocess.run(["debootstrap", *options, suite, half], stdout=subprocess.DEVNULL, check=True)
        half.rename(made)
    return made


def copy_project(target: Path) -> None:
    """Copy the files of the work tree, changed ones as they are."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
