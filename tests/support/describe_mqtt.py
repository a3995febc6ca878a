"""Writes the description of the MQTT interface, made from the types that the program itself uses."""

from __future__ import annotations

import functools
import inspect
import json
import operator
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from device.answering.answer import Answer
from device.config.sections import ID_PATTERN
from device.message.envelope import CONTENT_USAGE
from device.message.erasure import Erasure
from device.message.happenings import EVENTS
from device.message.health import Health
from device.message.review import ReviewState
from device.message.signature import PublicKey
from device.message.states import MicrophoneShown, Status, WakeShown
from device.message.tag import Tag
from support.command_line import FILE, make_writable, option, script

ROOT = Path(__file__).parents[2]
JSON_KINDS = {
    "tag": Tag,
    "review": ReviewState,
    "erase": Erasure,
    "microphone": MicrophoneShown,
    "wake": WakeShown,
    "health": Health,
    "key": PublicKey,
    "event": functools.reduce(operator.or_, EVENTS.values()),
    "answer": Answer,
}
DRAFT = "https://json-schema.org/draft/2020-12/schema"
PROPERTIES = {  # the user properties of a request, and what each repeats
    "id": "id", "device": "device", "wake_word": "wake_word", "captured_at": "captured_at",
    "review_opt_out": "review.opt_out, true or false", "review_choice": "review.choice",
    "review_revision": "review.revision", CONTENT_USAGE[0]: f"{CONTENT_USAGE[1]}, where review.opt_out is true",
}  # fmt: skip
# By the topic's levels below the device: who sends it, its payload, quality of service, whether retained, and what.
CHANNELS = {
    "request/reviewable": ("device", "file", 1, False, "A request that people may listen to, its tag inside the file."),
    "request/opted-out": ("device", "file", 1, False, "A request that nobody may listen to and nothing be trained on."),
    "review": ("device", "review", 1, True, "The review choice as it counts now."),
    "status": ("device", "status", 1, True, "Online once the other states are told; offline is also the last will."),
    "microphone": ("device", "microphone", 1, True, "Whether the microphone is heard."),
    "wake": ("device", "wake", 1, True, "Which wake words count, and from which score on, where MQTT may change it."),
    "health": ("device", "health", 1, True, "How the device is, where Home Assistant is told of it."),
    "key": ("device", "key", 1, True, "The key that signatures fit, where tags are signed."),
    "erase": ("device", "erase", 1, False, "Whoever has these requests is asked to erase them."),
    "event": ("device", "event", 0, False, "What happens, without audio."),
    "answer": ("answer", "answer", 1, False, "What was understood of a request, and what is said to it."),
    "review/set": ("others", "review-command", 1, False, "Opts out; or in, where the configuration allows it."),
    "microphone/set": ("others", "microphone-command", 1, False, "Mutes the microphone."),
    "wake/set": (
        "others",
        "wake-command",
        1,
        False,
        "Chooses one of the configured wake words, or all, or changes thresholds, where the configuration allows it.",
    ),
    "health/set": ("others", "health-command", 1, False, "Has the state health looked at now."),
}
PLAIN = {
    "status": {"enum": list(Status.__args__)},
    "review-command": {"type": "string", "pattern": "^(opt-out|opt-in [0-9]{1,18})$"},
    "microphone-command": {"type": "string", "enum": ["mute"]},
    "wake-command": {"type": "string", "pattern": "^(listen .+|threshold .+ (1(\\.0+)?|0?\\.[1-9][0-9]*))$"},
    "health-command": {"type": "string", "enum": ["check"]},
}


def schema_of(kind):
    """Return the JSON Schema of a kind of JSON, by itself."""
    return {"$schema": DRAFT, "title": kind, **described(msgspec.json.schema(JSON_KINDS[kind]), types_by_name())}


def types_by_name():
    found, left = {}, [*JSON_KINDS.values()]
    while left:
        kind = left.pop()
        left += getattr(kind, "__args__", ())
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found.values():
            found[kind.__name__] = kind
            left += [field.type for field in msgspec.structs.fields(kind)]
    return found


def described(schema, types):
    """Return a schema that other languages can read, with what the docstrings say of each field."""
    if isinstance(schema, list):
        return [described(part, types) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # Of OpenAPI, and no JSON Schema: AsyncAPI means something else by it.
    made = {key: described(value, types) for key, value in schema.items() if key != "discriminator"}
    if isinstance(made.get("pattern"), str):
        made["pattern"] = made["pattern"].replace("(?a)", "").replace(r"\Z", "$")
    if isinstance(made.get("description"), str):
        made["description"] = " ".join(made["description"].split("\n\n")[0].split())
    if kind := types.get(made.get("title")):
        names = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
        for name, meaning in attributes(kind).items():
            made["properties"][names[name]] = {**made["properties"][names[name]], "description": meaning}
    return made


def attributes(kind):
    """Return what a class's docstring says of its fields."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].split("\n\n")[0]
    lines = re.sub(r"\n {8,}", " ", section)
    return {name: meaning.replace("``", "`") for name, meaning in re.findall(r"^ {4}(\w+): (.*)$", lines, re.MULTILINE)}


def components():
    types = types_by_name()
    schemas, shared = msgspec.json.schema_components(
        list(JSON_KINDS.values()), ref_template="#/components/schemas/{name}"
    )
    named = dict(zip(JSON_KINDS, described(list(schemas), types), strict=True))
    return {**{name: described(schema, types) for name, schema in sorted(shared.items())},
            "Event": named["event"]}, named  # fmt: skip


def message_of(kind, named):
    if kind == "file":
        strings = {name: {"type": "string", "description": f"repeats {what}"} for name, what in PROPERTIES.items()}
        return {
            "contentType": "audio/wav",
            "description": "One whole WAV or FLAC file (then the type is audio/flac), 16 kHz, mono, 16 bits."
            " The tag, as in x-tag, is JSON in the WAV's ICMT entry or the FLAC's comment. Headers are MQTT 5's user"
            " properties.",
            "headers": {"type": "object", "properties": strings},
            "payload": {"type": "string", "format": "binary"},
            "x-tag": named["tag"],
        }
    if kind in PLAIN:
        return {"contentType": "text/plain", "payload": PLAIN[kind]}
    payload = {"$ref": "#/components/schemas/Event"} if kind == "event" else named[kind]
    return {"contentType": "application/json", "payload": payload}


def document():
    """Return the AsyncAPI document."""
    schemas, named = components()
    channels, operations = {}, {}
    for levels, (who, kind, qos, retained, what) in CHANNELS.items():
        name = re.sub(r"[/-](\w)", lambda found: found[1].upper(), levels)
        channels[name] = {
            "address": f"{{prefix}}/{{device}}/{levels}",
            "description": what,
            "messages": {kind: {"$ref": f"#/components/messages/{kind}"}},
            "parameters": {each: {"$ref": f"#/components/parameters/{each}"} for each in ("prefix", "device")},
        }
        operations[("hear" if who == "others" else "send") + name[0].upper() + name[1:]] = {
            "action": "receive" if who == "others" else "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": what + (" By `wakeword-recorder answer`, which is a subscriber." if who == "answer" else ""),
            "bindings": {"mqtt": {"qos": qos, "retain": retained, "bindingVersion": "0.2.0"}},
        }
    messages = {kind: message_of(kind, named) for kind in dict.fromkeys(row[1] for row in CHANNELS.values())}
    parameters = {
        "prefix": {"description": "[mqtt] topic_prefix, which may have several levels.", "default": "wakeword"},
        "device": {"description": f"[device] id: {ID_PATTERN.replace(chr(92) + 'Z', '$')}"},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wakeword-recorder",
            "version": "1",
            "description": "What a device and `answer` publish over MQTT, and what a device listens to. Made by"
            " scripts/describe-mqtt from the program's own types. Whoever reads it ignores fields that are not here.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "parameters": parameters, "schemas": schemas},
    }


class _Whole(yaml.SafeDumper):
    def ignore_aliases(self, _data):
        return True


@script(
    "describe-mqtt",
    __doc__,
    option("--out", type=FILE, default=ROOT / "config", help="The folder of asyncapi.yaml and schemas/."),
)
def main(options: Any) -> int:
    """Write asyncapi.yaml (AsyncAPI 3) and a JSON Schema for each kind of JSON; return the exit status."""
    schemas = options.out / "schemas"
    make_writable(schemas, "--out")
    text = yaml.dump(document(), Dumper=_Whole, sort_keys=False, width=110, allow_unicode=True)
    (options.out / "asyncapi.yaml").write_text(f"# Made by scripts/describe-mqtt: change the types, not this.\n{text}")
    for kind in JSON_KINDS:
        (schemas / f"{kind}.json").write_text(json.dumps(schema_of(kind), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
