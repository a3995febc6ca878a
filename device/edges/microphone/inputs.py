"""The devices that can record, as users see them, and which of them a configured name means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.errors import MicrophoneUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class InputDevice:
    """One device that can record.

    Attributes:
        index: PortAudio's number; replugging may change it.
        name: PortAudio's name, such as ``USB PnP Sound Device: Audio (hw:1,0)``.
        label: the name before the space and ``(hw:``, which replugging does not change; of a sound server's source its
            description.
        address: ALSA's address, such as ``hw:1,0``; replugging may change it. Of a source its name. Else empty.
        port: where it is plugged in, such as ``usb-0000:01:00.0-1.3``; empty if nobody knows.
        max_channels: how many channels it has, or offers at most.
        is_default: heard where no name is configured.
        rates_hz: the usual rates that it offers, ascending; empty if nobody asked.
        source: the sound server's source that it leads to, by its name; empty: none, or nobody knows.
        is_tied: it leads to that source and no other; else to whatever is the server's default.
        is_monitor: that source is what a loudspeaker plays.
        is_mixed: the server mixes all of that source's channels into one.
    """

    index: int
    name: str
    label: str
    address: str = ""
    port: str = ""
    max_channels: int = 1
    is_default: bool = False
    rates_hz: tuple[int, ...] = ()
    source: str = ""
    is_tied: bool = False
    is_monitor: bool = False
    is_mixed: bool = False

    @property
    def is_card(self) -> bool:
        """Whether it is a sound card itself, with neither a plug-in nor a sound server before it."""
        return self.address.startswith("hw:")

    @property
    def is_source(self) -> bool:
        """Whether it is one of a sound server's sources."""
        return bool(self.source) and self.address == self.source


@dataclass(frozen=True, slots=True)
class Choice:
    """What a configured name means.

    Attributes:
        device: the one to open.
        rivals: others that the name fits just as well.
    """

    device: InputDevice
    rivals: tuple[InputDevice, ...] = ()

    @property
    def warning(self) -> str:
        """What a user should know of it; empty if the name fits one device only."""
        if not self.rivals:
            return ""
        both = (self.device, *self.rivals)
        names = ", ".join(f'"{distinct_name(device, both)}"' for device in both)
        return f"[microphone] name fits {len(both)} devices, of which the first is taken; write one of {names}"


def label_of(name: str) -> str:
    """Return the part of PortAudio's name that stays when the device is plugged in again."""
    return name.split(" (hw:", maxsplit=1)[0]


def address_of(name: str) -> str:
    """Return ALSA's address in PortAudio's name, such as ``hw:1,0``; empty if there is none."""
    found = re.search(r" \((hw:\d+,\d+)\)\Z", name)
    return found[1] if found else ""


def distinct_name(device: InputDevice, among: Sequence[InputDevice]) -> str:
    """Return what tells a device apart from the others, the most lasting first: its label, its port, its address."""
    for name in ("label", "port"):
        value = getattr(device, name)
        if value and sum(getattr(other, name) == value for other in among) == 1:
            return str(value)
    return device.address or device.label


def choose(devices: Sequence[InputDevice], name: str, channel: int) -> Choice:
    """Find the device that a configured name means.

    A port or an address means its device. Else the first device counts whose label is the name, else the first whose
    label holds it, among those that have the channel. What is PortAudio's own goes before a sound server's sources, for
    a card is mostly one of those too, and a monitor is meant by its whole name only.

    Args:
        devices: all that there are.
        name: in any case; empty: the system's default.
        channel: counted from 1.

    Raises:
        MicrophoneUnavailableError: there is none.
    """
    ranked = sorted(
        ((rank, device) for device in devices if (rank := _rank(device, name.casefold())) is not None),
        key=lambda pair: (pair[0], pair[1].index),
    )
    if not ranked:
        found = ", ".join(f'"{distinct_name(device, devices)}"' for device in devices) or "none"
        what = f'no input device has "{name}" in its name' if name else "there is no default input device"
        # PortAudio leaves out what it cannot open while it looks: a device in use is not there at all.
        raise MicrophoneUnavailableError(
            f"{what} (found: {found})", hint="plug it in, end another program that holds it, or choose another device"
        )
    fitting = [(rank, device) for rank, device in ranked if device.max_channels >= channel]
    if not fitting:
        raise no_channel(ranked[0][1].label, channel, ranked[0][1].max_channels)
    best, device = fitting[0]
    return Choice(device, tuple(other for rank, other in fitting[1:] if rank == best))


def no_channel(label: str, channel: int, most: int) -> MicrophoneUnavailableError:
    """Return the error for a channel that a device does not have."""
    return MicrophoneUnavailableError(
        f'"{label}" has no channel {channel}', hint=f"it has {'1 to ' * (most > 1)}{most}: set [microphone] channel"
    )


def _rank(device: InputDevice, wanted: str) -> tuple[bool, int] | None:
    """Say how well a device fits a name, the least best; None: not at all."""
    if not wanted:
        return (False, 0) if device.is_default else None
    label = device.label.casefold()
    for where in (device.port.casefold(), device.address.casefold()):
        if where and wanted in {where, f"{label} [{where}]"}:
            return device.is_source, 0
    if wanted == label:
        return device.is_source, 1
    if wanted in label and not (device.is_source and device.is_monitor):
        return device.is_source, 2
    return None
