"""Which device a configured name means, and how users tell two of one name apart."""

from __future__ import annotations

from itertools import permutations

import pytest

from device.edges.microphone.inputs import InputDevice, address_of, choose, distinct_name, label_of
from device.errors import MicrophoneUnavailableError

USB = "USB PnP Sound Device: Audio"


def device(index, label=USB, *, card=None, port="", channels=2, default=False):
    address = f"hw:{card},0" if card is not None else ""
    name = f"{label} ({address})" if address else label
    return InputDevice(index, name, label_of(name), address_of(name), port, channels, default)


LEFT = device(1, card=1, port="usb-0000:01:00.0-1.1")
RIGHT = device(2, card=2, port="usb-0000:01:00.0-1.1.2")  # behind a hub in the port whose name its own begins with
DEFAULT = device(3, "default", channels=32, default=True)
DEVICES = [device(0, "bcm2835 Headphones: -", card=0), LEFT, RIGHT, DEFAULT]


def test_the_name_before_the_address_is_what_replugging_leaves():
    assert (label_of("A (B): C (hw:1,0)"), address_of("A (B): C (hw:1,0)")) == ("A (B): C", "hw:1,0")
    assert (label_of("default"), address_of("default")) == ("default", "")


def test_no_name_means_the_system_s_default():
    assert choose(DEVICES, "", 1).device is DEFAULT
    with pytest.raises(MicrophoneUnavailableError, match="no default input device"):
        choose([LEFT], "", 1)


@pytest.mark.parametrize("name", ["usb pnp", USB, "SOUND device: audio"])
def test_a_name_that_fits_two_devices_means_the_first_and_says_how_to_name_either(name):
    choice = choose(DEVICES, name, 1)
    assert (choice.device, choice.rivals) == (LEFT, (RIGHT,))
    assert LEFT.port in choice.warning
    assert RIGHT.port in choice.warning


@pytest.mark.parametrize("wanted", [LEFT, RIGHT])
@pytest.mark.parametrize("form", ["{0.port}", "{0.label} [{0.port}]", "{0.address}", "{0.label} [{0.address}]"])
def test_a_port_or_an_address_means_its_device_alone_in_whatever_order_they_are_listed(wanted, form):
    for devices in permutations(DEVICES):
        choice = choose(devices, form.format(wanted).upper().replace("HW:", "hw:"), 1)
        assert (choice.device, choice.warning) == (wanted, "")


def test_a_device_of_exactly_that_name_goes_before_one_that_only_holds_it():
    longer, exact = device(0, "Headset Pro", card=0), device(1, "Headset", card=1)
    choice = choose([longer, exact], "headset", 1)
    assert (choice.device, choice.warning) == (exact, "")


def test_a_device_without_the_channel_is_passed_over_and_named_where_no_other_fits():
    mono, stereo = device(0, card=0, channels=1), device(1, card=1, channels=2)
    assert choose([mono, stereo], USB, 2).device is stereo
    with pytest.raises(MicrophoneUnavailableError, match="has no channel 3; it has 1 to 2"):
        choose([stereo], USB, 3)


def test_an_unknown_name_lists_every_device_by_what_tells_it_apart():
    with pytest.raises(MicrophoneUnavailableError) as problem:
        choose(DEVICES, "Snowball", 1)
    for each in ("bcm2835 Headphones: -", LEFT.port, RIGHT.port, "default"):
        assert f'"{each}"' in str(problem.value)


def test_where_nobody_knows_the_port_the_address_tells_two_apart():
    twins = [device(0, card=1), device(1, card=2)]
    assert [distinct_name(twin, twins) for twin in twins] == ["hw:1,0", "hw:2,0"]
    assert choose(twins, "hw:2,0", 1).device is twins[1]
