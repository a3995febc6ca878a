"""What Home Assistant is told of this device, so that it makes its entities by itself: MQTT discovery by device.

Keys are Home Assistant's abbreviations. An entity's name is shown behind the device's, so that none has the device's
in it; the identifiers are constant, so that what somebody renames there stays renamed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device.hearing.tuning import ALL, LOWEST
from device.hearing.words import BUTTON

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEARD = (
    "{% if value_json.event == 'wake' %}"
    "{{ {'event_type': value_json.wake_word, 'score': value_json.score} | to_json }}{% endif %}"
)
# An opt-in names the revision of the choice that it changes: the one that is shown.
_CHOICE = "{{ value if value == 'opt-out' else 'opt-in ' ~ this.attributes.revision }}"

# A threshold names the word that it is of: the one that is shown.
_THRESHOLD = "threshold {{ this.attributes.word }} {{ value }}"


@dataclass(frozen=True, slots=True)
class Recorder:
    """A device, as Home Assistant is told of it.

    Attributes:
        topic_prefix: of its topics.
        id: its id.
        version: the program's.
        words: the wake words' names.
        allow_remote_opt_in: whether a message may opt in to review.
        thresholds: the configured ones, where a message may change them and choose among the words; empty: none may.
    """

    topic_prefix: str
    id: str
    version: str
    words: Sequence[str]
    allow_remote_opt_in: bool
    thresholds: Sequence[float] = ()


def identifier(topic_prefix: str, device: str) -> str:
    """Return what Home Assistant calls a device; ``device`` may be ``{}``, for its id to be put in later."""
    return f"{re.sub('[^a-zA-Z0-9_-]', '-', topic_prefix)}-{device}"


def topic(prefix: str, topic_prefix: str, device: str) -> str:
    """Return where a device's discovery is, ``prefix`` being Home Assistant's; an empty message there removes it."""
    return f"{prefix}/device/{identifier(topic_prefix, device)}/config"


def discovery(recorder: Recorder) -> bytes:
    """Return the discovery of a device, with all its entities."""
    base, own = f"{recorder.topic_prefix}/{recorder.id}", identifier(recorder.topic_prefix, recorder.id)
    entities = _switches(recorder) | _sensors() | _others(recorder)
    removed: dict[str, dict[str, Any]] = {}
    if recorder.thresholds:
        entities |= _settings(recorder)
    else:
        removed = {name: {"p": entity["p"]} for name, entity in _settings(recorder).items()}
    for name, entity in entities.items():
        entity["uniq_id"] = f"{own}-{name}"
        entity["def_ent_id"] = f"{entity['p']}.{re.sub('[^a-z0-9]+', '_', f'{recorder.id}_{name}').strip('_')}"
        entity |= {key: f"{base}/{entity[key]}" for key in ("stat_t", "cmd_t", "json_attr_t") if key in entity}
    told = {
        "dev": {"ids": [own], "name": recorder.id, "mdl": "wakeword-recorder", "sw": recorder.version},
        "o": {"name": "wakeword-recorder", "sw": recorder.version},
        "avty_t": f"{base}/status",
        "qos": 1,
        "cmps": entities | removed,  # Home Assistant keeps what is merely left out until its next start
    }
    return json.dumps(told, separators=(",", ":")).encode()


def _switches(recorder: Recorder) -> dict[str, dict[str, Any]]:
    # Neither is "optimistic": it shows what the device says, so what the device refuses was never shown as done.
    review = {
        "p": "switch", "name": "Review opt-out (recording goes on)", "ic": "mdi:account-off",
        "stat_t": "review", "val_tpl": "{{ 'on' if value_json.opt_out else 'off' }}", "json_attr_t": "review",
        "stat_on": "on", "stat_off": "off", "cmd_t": "review/set", "pl_on": "opt-out", "pl_off": "opt-in",
    }  # fmt: skip
    if recorder.allow_remote_opt_in:
        review["cmd_tpl"] = _CHOICE
    mute = {
        "p": "switch", "name": "Mute", "ic": "mdi:microphone-off",
        "stat_t": "microphone", "val_tpl": "{{ 'on' if value_json.state == 'muted' else 'off' }}",
        "stat_on": "on", "stat_off": "off", "cmd_t": "microphone/set", "pl_on": "mute", "pl_off": "unmute",
    }  # fmt: skip
    return {"review_opt_out": review, "mute": mute}


def _sensors() -> dict[str, dict[str, Any]]:
    of_health = {"p": "sensor", "stat_t": "health", "ent_cat": "diagnostic"}
    return {
        "microphone": {
            "p": "sensor", "name": "Microphone", "dev_cla": "enum", "ops": ["listening", "muted", "lost"],
            "stat_t": "microphone", "val_tpl": "{{ value_json.state }}", "json_attr_t": "microphone",
        },
        "waiting": of_health | {
            "name": "Waiting requests", "val_tpl": "{{ value_json.waiting }}", "stat_cla": "measurement",
        },
        "last_request": of_health | {
            "name": "Last request", "dev_cla": "timestamp", "val_tpl": "{{ value_json.last_request_at }}",
        },
        "last_check": of_health | {
            "name": "Last check", "dev_cla": "timestamp", "val_tpl": "{{ value_json.checked_at }}",
        },
        "problem": of_health | {
            "name": "Last problem", "val_tpl": "{{ (value_json.problem or {'text': 'none'}).text[:255] }}",
            "json_attr_t": "health", "json_attr_tpl": "{{ (value_json.problem or {}) | to_json }}",
        },
        "cpu": of_health | {
            "name": "CPU share", "unit_of_meas": "%", "stat_cla": "measurement",
            "val_tpl": "{{ value_json.cpu_percent }}",
        },
    }  # fmt: skip


def _others(recorder: Recorder) -> dict[str, dict[str, Any]]:
    return {
        "wake_word": {
            "p": "event", "name": "Wake word", "evt_typ": [*recorder.words, BUTTON],
            "stat_t": "event", "val_tpl": _HEARD,
        },
        "check": {
            "p": "button", "name": "Check", "ent_cat": "diagnostic", "cmd_t": "health/set", "pl_prs": "check",
        },
    }  # fmt: skip


def _settings(recorder: Recorder) -> dict[str, dict[str, Any]]:
    of_wake = {"ent_cat": "config", "stat_t": "wake", "cmd_t": "wake/set"}
    return {
        "listened_word": of_wake | {
            "p": "select", "name": "Wake word listened for", "ic": "mdi:microphone-message",
            "ops": [*recorder.words, *((ALL,) if len(recorder.words) > 1 else ())],
            "val_tpl": "{{ value_json.word }}", "cmd_tpl": "listen {{ value }}",
        },
        "threshold": of_wake | {
            "p": "number", "name": "Threshold", "ic": "mdi:tune-vertical", "json_attr_t": "wake",
            "min": min(LOWEST, *recorder.thresholds, 1), "max": 1, "step": 0.01, "mode": "box",
            "val_tpl": "{{ value_json.threshold }}", "cmd_tpl": _THRESHOLD,
        },
    }  # fmt: skip
