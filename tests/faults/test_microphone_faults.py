"""Cards that are pulled out, break and come back, acted by a preloaded shim between the real PortAudio and ALSA.

What is driven is the real ``Microphone`` in a program of its own (support/microphone_probe.py). A loss must be known
within 3 s, the microphone heard again within 5 s of its return, and no processor kept busy meanwhile.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.broker import Broker, listening
from support.daemon import Daemon, Device

from device.hil.virtual import virtual_microphone
from device.message.envelope import read_wav

SUPPORT = Path(__file__).parent.parent / "support"
NAME = "USB PnP Sound Device"
LABEL = f"{NAME}: Audio"
CARD = f"1 48000 2 {NAME}\n"  # number, rate, channels: as cheap ones are
LOST_WITHIN_S = 3.0
BACK_WITHIN_S = 5.0
SPIN_UNTIL_KNOWN_S = 2.5  # PortAudio's own thread, until the watchdog ends it


class Probe:
    """A ``Microphone`` in its own process; ``expect`` waits for what it says."""

    def __init__(self, env: dict[str, str], name: str, channel: int = 1) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "microphone_probe.py"), name, str(channel)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said: queue.Queue[dict] = queue.Queue()
        # Ends with the process, whose output ends then; only it reads that.
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        for line in self._process.stdout:
            self._said.put(json.loads(line))

    def expect(self, event: str, within_s: float = 15.0, **facts) -> dict:
        """Skip to the first such line, or fail."""
        deadline = time.monotonic() + within_s
        skipped = []
        with contextlib.suppress(queue.Empty):
            while True:
                line = self._said.get(timeout=max(deadline - time.monotonic(), 0.0))
                if line["event"] == event and facts.items() <= line.items():
                    return line
                skipped.append(line)
        raise AssertionError(f"no {event} {facts} within {within_s} s, but {skipped}")

    def tell(self, command: str) -> None:
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def ask(self, command: str) -> dict:
        self.tell(command)
        return self.expect(command)

    def hear(self, samples: int = 16_000) -> None:
        """Wait until so many more samples were read, and see that nothing else happened."""
        self.tell(f"hear {samples}")
        assert self._said.get(timeout=10)["event"] == "hear"

    def holes_until_heard(self, samples: int) -> list[dict]:
        """Wait until so many more samples were read, and return the holes among them."""
        self.tell(f"hear {samples}")
        lines = iter(lambda: self._said.get(timeout=10), None)
        return list(itertools.takewhile(lambda line: line["event"] != "hear", lines))

    def cpu_s(self) -> float:
        return self.ask("cpu")["cpu_s"]

    def files_and_threads(self) -> tuple[int, int]:
        process = Path("/proc", str(self._process.pid))
        return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))

    def close(self, within_s: float = 15.0) -> int:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            return self._process.wait(within_s)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


class Cards:
    """The control folder of the shim; times are those at which a change took effect."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plug(CARD)
        self.fault("")

    def plug(self, cards: str) -> float:
        return self._put("cards", cards)

    def fault(self, word: str) -> float:
        return self._put("fault", word)

    def _put(self, name: str, text: str) -> float:
        new = self.folder / "new"
        new.write_text(text)
        new.replace(self.folder / name)
        return time.monotonic()


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("shim") / "alsa_shim.so"
    source = SUPPORT / "alsa_shim" / "alsa_shim.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def room():
    with virtual_microphone(48_000) as microphone:
        yield microphone


@pytest.fixture
def cards(tmp_path):
    return Cards(tmp_path)


@pytest.fixture
def start(room, shim, cards):
    probes = []

    def start(name=NAME, channel=1, **more):
        root = str(SUPPORT.parent.parent)
        env = room.env | {"LD_PRELOAD": str(shim), "ALSA_SHIM": str(cards.folder), "PYTHONPATH": root} | more
        probes.append(Probe(env, name, channel))
        return probes[-1]

    yield start
    for probe in probes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            probe.close(within_s=1.0)


def plug_into(sysfs, number, port):
    """Lay out what the kernel shows in /sys of a card in a USB port."""
    hardware = sysfs / f"devices/pci0000:00/0000:01:00.0/usb1/1-{port[0]}/1-{port}/1-{port}:1.0"
    link = sysfs / f"class/sound/card{number}"
    hardware.mkdir(parents=True, exist_ok=True)
    link.mkdir(parents=True, exist_ok=True)
    (link / "device").unlink(missing_ok=True)
    (link / "device").symlink_to(hardware)


def test_a_card_with_48_khz_stereo_only_is_heard_at_the_right_pitch(room, start, tmp_path):
    probe = start(NAME.lower()[:7])
    probe.expect("state", state="listening")
    tone = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)
    room.play_samples(tone, 48_000)
    assert probe.ask("count")["source"] == f"mic:{NAME}"
    probe.tell(f"save {tmp_path / 'heard.npy'}")
    probe.expect("saved")
    heard = np.load(tmp_path / "heard.npy")
    middle = np.flatnonzero(np.abs(heard) > 4000)[0] + np.arange(8_000)
    assert np.argmax(np.abs(np.fft.rfft(heard[middle] * np.hanning(8_000)))) == 220  # 440 Hz in half a second
    assert probe.close() == 0


@pytest.mark.parametrize(
    ("fault", "busy_s"),
    [("ends", 0.5), ("spins", SPIN_UNTIL_KNOWN_S), ("silent", 0.5)],
)
def test_a_loss_is_known_within_3_s_and_the_return_within_5_s_and_nothing_spins(cards, start, fault, busy_s, ledger):
    probe = start()
    probe.expect("state", state="listening")
    cpu_before_s = probe.cpu_s()
    broken_s = cards.fault(fault)
    lost = probe.expect("state", state="lost")
    assert lost["at_s"] - broken_s < LOST_WITHIN_S
    probe.expect("gap", why="lost")
    assert probe.cpu_s() - cpu_before_s < busy_s
    back_s = cards.fault("")
    recovery_s = probe.expect("state", state="listening")["at_s"] - back_s
    ledger(f"microphone: {fault}", injected=1, recovery_s=recovery_s)
    assert recovery_s < BACK_WITHIN_S
    probe.hear()
    assert probe.close() == 0


def test_a_card_that_comes_back_under_another_number_is_found_by_its_name(cards, start, ledger):
    probe = start()
    probe.expect("state", state="listening")
    cards.plug("")
    probe.expect("state", state="lost")
    back_s = cards.plug(f"0 44100 1 Another One\n3 44100 1 {NAME}\n")
    recovery_s = probe.expect("state", state="listening")["at_s"] - back_s
    ledger("microphone: back under another number", injected=1, recovery_s=recovery_s)
    assert recovery_s < BACK_WITHIN_S
    assert probe.ask("count")["source"] == f"mic:{NAME}"
    assert probe.close() == 0


def test_one_of_two_identical_cards_is_found_by_its_port_in_whatever_order_they_are_plugged_in(cards, start, tmp_path):
    for number, port in ((1, "1.1"), (2, "1.2")):
        plug_into(tmp_path, number, port)
    cards.plug(f"1 48000 1 {NAME}\n2 44100 1 {NAME}\n")
    probe = start("usb-0000:01:00.0-1.2", SYSFS=str(tmp_path))
    probe.expect("state", state="listening")
    assert probe.ask("count")["rate_hz"] == 44100
    cards.plug("")
    probe.expect("state", state="lost")
    for number, port in ((1, "1.2"), (2, "1.1")):
        plug_into(tmp_path, number, port)
    cards.plug(f"1 44100 1 {NAME}\n2 48000 1 {NAME}\n")
    probe.expect("state", state="listening")
    assert probe.ask("count")["rate_hz"] == 44100
    assert probe.close() == 0


@pytest.mark.parametrize(("name", "starred", "warns"), [("hw:2,0", "hw:2,0", False), ("usb pnp", "hw:1,0", True)])
def test_devices_shows_what_tells_two_identical_cards_apart(cards, room, shim, tmp_path, name, starred, warns):
    cards.plug(f"1 48000 1 {NAME}\n2 48000 1 {NAME}\n")
    configuration = tmp_path / "config.toml"
    configuration.write_text(f'[microphone]\nname = "{name}"\n')
    program = [Path(sys.executable).with_name("wakeword-recorder"), "devices", "--config", configuration]
    env = room.env | {"LD_PRELOAD": str(shim), "ALSA_SHIM": str(cards.folder)}
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=True)
    marks = {line[2:].split(": 1 ch")[0]: line[0] for line in done.stdout.splitlines() if NAME in line}
    assert marks == {f"{LABEL} [{address}]": "* "[address != starred] for address in ("hw:1,0", "hw:2,0")}
    assert ('write one of "hw:1,0", "hw:2,0"' in done.stderr) == warns


def test_without_a_card_at_the_start_it_is_lost_and_found_when_plugged_in(cards, start, ledger):
    cards.plug("")
    probe = start()
    assert f'"{NAME}"' in probe.expect("state", state="lost")["reason"]
    plugged_s = cards.plug(CARD)
    recovery_s = probe.expect("state", state="listening")["at_s"] - plugged_s
    ledger("microphone: none at the start", injected=1, recovery_s=recovery_s)
    assert recovery_s < BACK_WITHIN_S
    assert probe.close() == 0


def test_a_card_held_by_another_program_is_lost_and_says_what_may_be_until_it_is_free(cards, start, ledger):
    cards.fault("busy")  # PortAudio does not even list it then
    probe = start()
    assert "another program" in probe.expect("state", state="lost")["reason"]
    free_s = cards.fault("")
    recovery_s = probe.expect("state", state="listening")["at_s"] - free_s
    ledger("microphone: held by another program", injected=1, recovery_s=recovery_s)
    assert recovery_s < BACK_WITHIN_S
    assert probe.close() == 0


@pytest.mark.parametrize("lost_ms", [0, 100, 400, 800, 1400])
def test_an_overrun_of_alsa_s_buffer_is_a_hole_as_long_as_what_it_took_and_the_stream_goes_on(
    cards, start, room, tmp_path, lost_ms
):
    """A tone whose pitch tells the time, so that what is missing is seen in what was heard."""
    probe = start()
    probe.expect("state", state="listening")
    at = np.arange(12 * 48_000) / 48_000
    soundfile.write(tmp_path / "rising.wav", 8_000 * np.sin(2 * np.pi * (500 * at + 50 * at**2)) / 32_768, 48_000)
    with room.playing(tmp_path / "rising.wav"):
        probe.hear(48_000)
        cards.fault(f"overflow {lost_ms}")
        hole = probe.expect("hole")
        holes = [hole, *probe.holes_until_heard(48_000)]  # a machine that is too busy may add one of its own
    probe.tell(f"save {tmp_path / 'heard.npy'}")
    probe.expect("saved")
    heard = np.load(tmp_path / "heard.npy")
    before, after = hole["position"] - 8_000, holes[-1]["position"] + 8_000  # half a second off either side
    missing_s = (pitch_hz(heard, after) - pitch_hz(heard, before)) / 100 - (after - before) / 16_000
    assert missing_s > lost_ms / 1_000 - 0.02  # so the shim did take it
    assert sum(each["samples"] for each in holes) / 16_000 == pytest.approx(missing_s, abs=0.08)
    assert all(each["samples"] > 0 for each in holes)
    assert probe.close() == 0


def test_none_of_many_short_overruns_goes_unsaid_wherever_in_a_block_they_fall(cards, start):
    """PortAudio loses its own word of one where it cuts the device's blocks into others."""
    probe = start()
    probe.expect("state", state="listening")
    for count in range(30):
        cards.fault("overflow 30")
        probe.expect("hole", within_s=2.0)
        probe.tell(f"hear {800 + 160 * (count % 8)}")  # the next one falls elsewhere
        probe.expect("hear")
    assert probe.close() == 0


def test_an_overrun_within_a_request_is_a_hole_in_its_tag_and_the_rest_of_it_follows(cards, room, shim, tmp_path):
    said = SUPPORT.parent / "fixtures/pauses-inside.wav"  # its request is said from 2.6 to 6.3 s
    with Broker(tmp_path) as broker, listening(broker.port, "wakeword/kitchen/#") as listener:
        device = Device(tmp_path, broker.port, microphone=f'name = "{NAME}"')
        device.env |= room.env | {"LD_PRELOAD": str(shim), "ALSA_SHIM": str(cards.folder)}
        with Daemon(device) as daemon:
            daemon.wait_for("microphone-listening")
            with room.playing(said) as play:
                daemon.wait_for("wake")
                time.sleep(1.0)  # into the request: it is said for 3.7 s from here on
                cards.fault("overflow 400")
                event = daemon.wait_for("overflow")
                play.wait()
            tag, pcm = read_wav(listener.next("wakeword/kitchen/request/opted-out").payload)
            assert daemon.stop() == 0
    assert event["bridged"]
    (hole,) = tag.holes
    assert hole.duration_s == pytest.approx(event["missing_s"], abs=0.001)
    assert hole.duration_s == pytest.approx(0.4, abs=0.1)
    assert tag.ended_by == "silence"
    assert tag.duration_s == pytest.approx(3.9, abs=0.4)
    samples = np.frombuffer(pcm, "<i2")
    first = hole.start_sample - tag.start_sample
    assert not samples[first : first + round(hole.duration_s * 16_000)].any()
    assert np.abs(samples[first + round(hole.duration_s * 16_000) :]).max() > 1_000


@pytest.mark.long
def test_digital_silence_that_lasts_is_told_as_lost_and_costs_no_request(tmp_path, room):
    """As from a microphone with a switch; a headset that gates its noise must be heard all the same."""
    with Broker(tmp_path) as broker, listening(broker.port, "wakeword/kitchen/#") as listener:
        device = Device(tmp_path, broker.port)
        device.env |= room.env
        with Daemon(device) as daemon:
            daemon.wait_for("microphone-listening")
            assert "digital silence" in daemon.wait_for("microphone-lost")["reason"]
            state = json.loads(listener.next("wakeword/kitchen/microphone").payload)
            while state["state"] != "lost":
                state = json.loads(listener.next("wakeword/kitchen/microphone").payload)
            assert "digital silence" in state["reason"]
            with room.playing(SUPPORT.parent / "fixtures/hey-jarvis-request.wav") as play:
                daemon.wait_for("microphone-listening")
                play.wait()
            tag, _ = read_wav(listener.next("wakeword/kitchen/request/opted-out").payload)
            assert daemon.stop() == 0
    assert tag.ended_by == "silence"


def pitch_hz(heard, middle):
    """The frequency of a tone around a sample: zero crossings over a quarter of a second."""
    piece = heard[middle - 2_000 : middle + 2_000].astype(float)
    crossings = np.flatnonzero((piece[:-1] < 0) & (piece[1:] >= 0))
    exact = crossings - piece[crossings] / (piece[crossings + 1] - piece[crossings])
    return 16_000 * (len(exact) - 1) / (exact[-1] - exact[0])


def test_a_muted_card_may_be_pulled_out_and_its_absence_shows_when_unmuted(cards, start, ledger):
    probe = start()
    probe.expect("state", state="listening")
    probe.tell("mute")
    probe.expect("muted")
    cards.plug("")
    probe.tell("unmute")
    probe.expect("state", state="lost")
    back_s = cards.plug(CARD)
    recovery_s = probe.expect("state", state="listening")["at_s"] - back_s
    ledger("microphone: pulled out while muted", injected=1, recovery_s=recovery_s)
    assert recovery_s < BACK_WITHIN_S
    assert probe.close() == 0


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "fault", ["ends", pytest.param("spins", marks=LONG), pytest.param("silent", marks=LONG), "busy"]
)
def test_a_broken_card_can_be_muted_at_once(cards, start, fault):
    probe = start()
    probe.expect("state", state="listening")
    cards.fault(fault)
    if fault != "busy":  # that one only keeps from opening
        probe.expect("state", state="lost")
    told_s = time.monotonic()
    probe.tell("mute")
    assert probe.expect("muted")["at_s"] - told_s < 1.0
    assert probe.close() == 0


@pytest.mark.long
def test_a_card_away_for_a_minute_costs_next_to_nothing(cards, start, ledger):
    cards.plug("")
    probe = start()
    probe.expect("state", state="lost")
    before_s = probe.cpu_s()
    with contextlib.suppress(AssertionError):
        probe.expect("state", within_s=60.0)
    assert probe.cpu_s() - before_s < 1.2  # 2 % of a core
    back_s = cards.plug(CARD)
    recovery_s = probe.expect("state", state="listening")["at_s"] - back_s
    ledger("microphone: away for a minute", injected=1, recovery_s=recovery_s)
    assert recovery_s < BACK_WITHIN_S


@pytest.mark.long
def test_a_call_that_never_returns_ends_the_program_instead_of_deafening_it(cards, start):
    probe = start()
    probe.expect("state", state="listening")
    cards.fault("stuck")
    probe.tell("mute")
    assert "has not returned" in probe.expect("failed", within_s=20.0)["error"]
    assert probe.close() == 69  # and no exit handler waited for the device


@pytest.mark.long
def test_two_dozen_losses_of_every_kind_leak_nothing(cards, start, ledger):
    probe = start()
    probe.expect("state", state="listening")
    losses_s, returns_s = [], []
    for count in range(24):
        broken_s = cards.fault(("ends", "spins", "silent")[count % 3])
        losses_s.append(probe.expect("state", state="lost")["at_s"] - broken_s)
        back_s = cards.fault("")
        returns_s.append(probe.expect("state", state="listening")["at_s"] - back_s)
        if count == 2:
            files_and_threads = probe.files_and_threads()
    assert probe.files_and_threads() == files_and_threads
    print(f"longest loss {max(losses_s):.2f} s, longest return {max(returns_s):.2f} s of {len(losses_s)}")
    ledger("microphone: every kind in turn", injected=24, recovery_s=max(returns_s))
    assert max(losses_s) < LOST_WITHIN_S
    assert max(returns_s) < BACK_WITHIN_S
    assert probe.close() == 0
