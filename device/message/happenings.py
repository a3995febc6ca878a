"""Every event that a device publishes under ``{device}/event``: when, and with which fields. None has audio.

The daemon says its events by name and fields; a test holds what it says against this table.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from device.hearing.request import EndedBy

_Count = Annotated[int, Meta(ge=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Maybe = UnsetType  # X | _Maybe: may be missing

_HEARD = {"wake_word": str, "score": _Share, "wake_sample": _Count, "source": str}
_INPUT = {"source": str}
_PROBLEM = {"problem": str, "times": Annotated[int, Meta(ge=2)] | _Maybe}  # times: so often since it was said last
_MICROPHONE = {"reason": str}

_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "started": ("The device listens.", {"version": str, "words": list[str]}),
    "wake": ("A wake word was heard, or the button pressed.", _HEARD | {"confirmed": _Share | None}),
    "wake-changed": (
        "Other wake words or thresholds count, changed over MQTT or as configured again.",
        {"word": str, "thresholds": dict[str, _Share], "changed": bool},
    ),
    "not-confirmed": ("The second model took the word for another one.", _HEARD | {"confirmed": _Share}),
    "no-speech": ("Nothing was said after it.", {"wake_word": str, "wake_sample": _Count, "source": str}),
    "stored": (
        "A request is on disk, and will be sent.",
        {"id": str, "wake_word": str, "duration_s": float, "ended_by": EndedBy, "source": str, "start_sample": _Count}
        | {"end_sample": _Count, "opt_out": bool},
    ),
    "sent": ("The broker has a request.", {"id": str}),
    "not-sent": ("A request could not be sent; it is tried again.", {"id": str, **_PROBLEM}),
    "set-aside": ("A request cannot be sent on this connection.", {"id": str, **_PROBLEM}),
    "dropped": ("A request is gone unsent.", {"id": str, "reason": str, "captured_at": str | _Maybe}),
    "lost": ("Requests are gone, since the disk took nothing.", {"count": _Count}),
    "kept": ("Requests wait for the next run; null: nobody knows how many.", {"count": _Count | None}),
    "sending": ("`outbox send` sends what waits.", {"count": _Count}),
    "overflow": ("The machine was too slow, and sound is missing.", {"missing_s": float, "bridged": bool}),
    "microphone-listening": ("The microphone is heard.", _MICROPHONE),
    "microphone-muted": ("The microphone is closed on purpose.", _MICROPHONE),
    "microphone-lost": ("The microphone is not heard, and why.", _MICROPHONE),
    "input": ("A recording is read in the microphone's place.", _INPUT),
    "input-odd": ("Something is odd about a recording.", _INPUT),
    "input-unreadable": ("A recording cannot be read.", _INPUT),
    "clock-set": ("The clock was set, and the times of waiting requests corrected.", {"count": _Count}),
    "command": ("A command over MQTT was obeyed.", {"command": str}),
    "command-ignored": ("A message was no command, or one that may not be obeyed.", _PROBLEM),
    "command-failed": ("A command could not be carried out.", {"command": str, **_PROBLEM}),
    "commands-refused": ("The broker lets the device hear no commands.", _PROBLEM),
    "commands-unheard": ("A topic of commands is left out for some minutes.", _PROBLEM),
    "broker-connected": ("A broker is there again.", {"host": str, "port": _Count, "protocol": Literal["5", "3.1.1"]}),
    "broker-unavailable": ("The broker was not reached.", _PROBLEM),
    "broker-lost": ("The connection had ended.", _PROBLEM),
    "id-taken": ("Another client has this one's id, and each throws the other out.", _PROBLEM),
    "broker-cannot-tell": ("With MQTT 3.1.1 a broker cannot say that it dropped a message.", _PROBLEM),
    "broker-misreports": ("The broker is wrong where it says that nobody is subscribed.", _PROBLEM),
    "erasure-sent": ("The broker has an erasure notice.", {"count": _Count}),
    "erasure-waits": ("An erasure notice could not be sent; it is tried again.", _PROBLEM),
    "state-refused": ("The broker took a state not.", {"state": str, **_PROBLEM}),
    "states-not-kept": ("The broker keeps no states.", _PROBLEM),
    "store-busy": ("The disk cannot take or give something now.", {"problem": str | _Maybe, "times": int | _Maybe}),
    "store-failed": ("A request is kept in memory, since the disk does not take it.", {"held": _Count}),
    "store-damaged": (
        "The database was damaged; what could be saved was.",
        {"reason": str, "set_aside": str, "saved": _Count, "lost": _Count, "left": _Count},
    ),
    "store-salvaged": ("All that can be saved of a damaged database is.", {"set_aside": str, "kept": str}),
    "damaged-deleted": ("What was left of a damaged database is gone for its age.", {"name": str}),
    "review-unreadable": ("The review choice cannot be read: everything is opted out.", {}),
    "disk-stalled": ("The disk does not answer.", {}),
    "disk-answers": ("It does again.", {"stalled_s": float}),
    "state-folder": ("The state folder is not what it should be.", {}),
    "control-unavailable": ("`listen` will not work.", {}),
    "hook-failed": ("A hook's program failed.", {"hook": str, **_PROBLEM}),
}


def _type_of(name: str) -> type[Struct]:
    description, fields = _FIELDS[name]
    needed: list[Any] = []
    optional: list[Any] = []
    for key, kind in fields.items():
        if UnsetType in get_args(kind):
            optional.append((key, kind, UNSET))
        else:
            needed.append((key, kind))
    return msgspec.defstruct(
        name.title().replace("-", "") + "Event", [*needed, *optional], tag_field="event", tag=name, frozen=True,
        kw_only=True, namespace={"__doc__": description},
    )  # fmt: skip


EVENTS: dict[str, type[Struct]] = {name: _type_of(name) for name in _FIELDS}
"""The type of each event's JSON, by its name; the name stands in the field ``event``."""
