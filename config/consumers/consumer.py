"""Takes requests from the broker, checks each against its tag, and does something with it: here it prints a line.

Needs paho-mqtt alone. The broker keeps what comes while this is away, as long as CLIENT_ID stays the same.
"""

import hashlib
import json
import os
import struct
import sys

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST, PORT = os.environ.get("BROKER", "localhost"), int(os.environ.get("PORT", "1883"))
TOPIC = "wakeword/+/request/reviewable"  # request/+ for opted-out ones, too: they may be acted on, and heard by nobody
CLIENT_ID = "consumer"
KEPT_S = 86_400
MAX_AGE_S = 20.0  # what was said longer ago is not acted on


def chunks(data):
    """Yield the name and content of each chunk of RIFF data."""
    at = 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def opened(wav):
    """Return a WAV's tag and its samples as bytes."""
    file = dict(chunks(wav[12:]))
    return json.loads(dict(chunks(file[b"LIST"][4:]))[b"ICMT"].rstrip(b"\0")), file[b"data"]


def on_message(client, seen, message):
    """Take one request; it is acknowledged when it is done with, and comes again if this ends before."""
    tag, pcm = opened(message.payload)
    whole = hashlib.sha256(pcm).hexdigest() == tag["audio"]["sha256"]
    topic_agrees = message.topic.endswith("opted-out" if tag["review"]["opt_out"] else "reviewable")
    if not whole or not topic_agrees:
        print(f"refused: {message.topic} and its tag or its sound disagree", file=sys.stderr, flush=True)
    elif tag["id"] not in seen:  # at-least-once delivery: the same id is the same request
        seen.add(tag["id"])
        acted = tag["waited_s"] is not None and tag["waited_s"] <= MAX_AGE_S
        print(tag["id"], tag["device"], tag["wake_word"], f"{tag['duration_s']:.2f} s", acted, flush=True)
    client.ack(message.mid, message.qos)


def main():
    """Receive until it is stopped."""
    client = Client(CallbackAPIVersion.VERSION2, CLIENT_ID, userdata=set(), protocol=MQTTv5, manual_ack=True)
    client.on_message = on_message
    client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = KEPT_S
    client.connect(HOST, PORT, clean_start=False, properties=session)
    client.loop_forever()


if __name__ == "__main__":
    main()
