"""Which microphones are offered, which channel is taken, and how a line of the list looks."""

import math

import pytest

from device.edges.microphone.inputs import InputDevice
from device.edges.microphone.levels import candidates
from device.tools.microphone_choice import channel_of, line

CARD = InputDevice(0, "USB PnP: Audio (hw:1,0)", "USB PnP: Audio", "hw:1,0", port="usb-0000:01:00.0-1.3")
HAT = InputDevice(1, "seeed (hw:0,0)", "seeed", "hw:0,0", max_channels=4)
PLUG = InputDevice(2, "default", "default", is_default=True)
SOURCE = InputDevice(2, "default", "Built-in Audio", "alsa_input.pci", source="alsa_input.pci")
MONITOR = InputDevice(2, "default", "Monitor of it", "out.monitor", source="out.monitor", is_monitor=True)


def test_cards_are_offered_usb_first_since_a_service_reaches_no_sound_server():
    assert candidates([HAT, CARD, PLUG, SOURCE, MONITOR]) == [CARD, HAT]


def test_without_a_card_all_are_offered_but_what_a_loudspeaker_plays():
    assert candidates([PLUG, SOURCE, MONITOR]) == [PLUG, SOURCE]
    assert candidates([]) == []


@pytest.mark.parametrize(
    ("levels", "channel"),
    [
        ([], 1),
        ([-50.0], 1),
        ([-math.inf], 1),
        ([-50.0, -41.0], 1),
        ([-math.inf, -50.0], 2),
        ([-80.0, -80.0, -30.0, -40.0], 3),
        ([-math.inf, -math.inf], 1),
        ([-30.0, -80.0], 1),
    ],
)
def test_the_first_channel_is_taken_unless_another_one_is_far_louder(levels, channel):
    assert channel_of(levels) == channel


@pytest.mark.parametrize("columns", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("levels", [[], [-math.inf], [-20.0], [-80.0, -20.0]])
def test_a_line_fits_the_terminal(columns, levels):
    assert len(line(1, "a very long name of a microphone indeed", levels, "", columns)) < max(columns, 1)
    assert len(line(12, "x", levels, "it cannot be opened: busy", columns)) < max(columns, 1)


def test_a_line_shows_the_level_the_loudest_channel_and_what_is_wrong():
    quiet, loud = line(1, "USB", [-70.0], "", 80), line(1, "USB", [-10.0], "", 80)
    assert quiet.count("#") < loud.count("#")
    assert "-10 dBFS" in loud
    assert "silence" in line(1, "USB", [-math.inf], "", 80)
    assert "channel 2 of 2" in line(1, "hat", [-80.0, -20.0], "", 100)
    assert line(3, "USB", [], "it is in use", 80).startswith("  3  USB")
    assert "it is in use" in line(3, "USB", [], "it is in use", 80)
