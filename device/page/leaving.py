"""Everything that leaves this device, in words: a test holds them to the tag, the topics and the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device.page.markup import NOTHING, Html, fill, join

if TYPE_CHECKING:
    from device.page.facts import Place

TAG = {
    "schema": "the version of this list",
    "id": "a number of the request's own",
    "device": "this device's name",
    "wake_word": "the wake word, or button",
    "score": "how surely it was heard",
    "confirmed": "how surely the second model heard it",
    "captured_at": "when speech began",
    "clock_synced": "whether the clock was set by then",
    "source": "the microphone's name",
    "start_sample": "where in the stream the request begins",
    "end_sample": "where it ends",
    "wake_sample": "where the wake word was heard",
    "duration_s": "how long it is",
    "ended_by": "what ended it, such as silence",
    "holes": "where sound is missing",
    "review": "the choice on this page, when it was made, what it allows, which text was read",
    "audio": "the sound's format and checksum",
    "waited_s": "how long it waited here",
    "signature": "this device's, where it signs",
}
"""Each field of the tag, and what it says."""

TOPICS = {
    "request/opted-out": "requests that nobody may listen to",
    "request/reviewable": "requests that people may listen to",
    "review": "the choice on this page",
    "status": "whether the recorder is online",
    "microphone": "listening, muted or lost, and since when",
    "wake": "where MQTT may change it, which wake words count and from which score on",
    "event": "what happens, such as a wake word heard or a request sent; never sound",
    "erase": "which requests are to be erased, where you withdraw some",
    "key": "where it signs, the key that its signatures fit",
    "health": "for Home Assistant: how many wait, the last request's time and problem, the processor's share",
}
"""Each topic below the device's, and what is told there."""

_TEXT = """\
<p>After a wake word, what is said next leaves this device once, as one audio file ({format}, 16 kHz, mono). It goes
 to the broker <strong>{broker}</strong>, {encrypted}, and is deleted here when the broker has it.
 The broker passes it on to whoever may subscribe there.{asked}</p>
<h3>In each file, beside the sound</h3>
<dl>{tag}</dl>
<h3>Topics below <code>{base_topic}</code></h3>
<dl>{topics}</dl>
<p>Where Home Assistant is to discover this device, the broker also has a description of it. Nothing else leaves, and
 nobody else is told anything. This page loads nothing from anywhere else.</p>"""
_ASKED = " Where <code>answer</code> runs, <strong>{asked}</strong> hears every request, opted out or not."


def text(place: Place) -> Html:
    """Return the whole text."""
    return fill(
        _TEXT,
        format=place.format.upper(),
        broker=place.broker,
        encrypted="encrypted by TLS" if place.tls else "not encrypted on its way",
        asked=fill(_ASKED, asked=place.asked) if place.asked else NOTHING,
        base_topic=place.base_topic,
        tag=_list(TAG),
        topics=_list(TOPICS),
    )


def _list(meanings: dict[str, str]) -> Html:
    row = "<div><dt><code>{name}</code></dt><dd>{meaning}</dd></div>"
    return join(fill(row, name=name, meaning=meaning) for name, meaning in meanings.items())
