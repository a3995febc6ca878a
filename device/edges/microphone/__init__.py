"""The microphone: found by name, opened at what it offers, heard as 16 kHz mono, reopened when lost, closed when muted.

PortAudio's callback copies a block into a bounded queue and returns; one owner thread makes every other call into
PortAudio; whoever calls ``Microphone.read`` converts.
"""

from device.edges.microphone.blocks import Block, Gap, Hole, Mark, StreamFormat
from device.edges.microphone.inputs import InputDevice, choose, distinct_name
from device.edges.microphone.levels import Levels
from device.edges.microphone.listing import devices
from device.edges.microphone.supervisor import Microphone, MicrophoneState

__all__ = [
    "Block",
    "Gap",
    "Hole",
    "InputDevice",
    "Levels",
    "Mark",
    "Microphone",
    "MicrophoneState",
    "StreamFormat",
    "choose",
    "devices",
    "distinct_name",
]
