"""Where a card is plugged in, read from a sysfs laid out as the kernel lays it."""

from __future__ import annotations

import pytest

from device.edges.microphone import ports

# Seen on a Pi 4 (its USB 3 controller hangs on PCI), a Pi 3, a PC behind two hubs, and cards that are not on USB.
DEVICES = {
    "platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1/1-1.3/1-1.3:1.0": "usb-0000:01:00.0-1.3",
    "platform/soc/3f980000.usb/usb1/1-1/1-1.1/1-1.1.2/1-1.1.2:1.0": "usb-3f980000.usb-1.1.2",
    "pci0000:00/0000:00:14.0/usb3/3-6/3-6.4/3-6.4.1/3-6.4.1:1.0": "usb-0000:00:14.0-6.4.1",
    "pci0000:00/0000:00:14.0/usb12/12-2/12-2:1.0": "usb-0000:00:14.0-2",
    "pci0000:00/0000:00:1f.3": "0000:00:1f.3",
    "platform/soc/soc:sound": "soc:sound",
}


@pytest.fixture
def sysfs(tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "SYSFS", tmp_path)
    (tmp_path / "class/sound").mkdir(parents=True)
    return tmp_path


def plug(sysfs, number, device):
    """Make cardN as sysfs does: a link in class/sound to a folder whose link ``device`` leads to the hardware."""
    hardware = sysfs / "devices" / device
    card = hardware / "sound" / f"card{number}"
    card.mkdir(parents=True, exist_ok=True)
    (card / "device").symlink_to(hardware)
    (sysfs / f"class/sound/card{number}").symlink_to(card)


@pytest.mark.parametrize(("device", "port"), DEVICES.items(), ids=DEVICES.values())
def test_a_port_is_named_as_the_kernel_names_it(sysfs, device, port):
    plug(sysfs, 2, device)
    assert ports.port_of(2) == port


def test_a_card_that_sysfs_does_not_know_has_no_port(sysfs):
    assert ports.port_of(0) == ""
