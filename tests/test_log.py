"""The log: one JSON object a line, and repeats held back."""

import contextlib
import io
import json
import logging

import pytest

from device import log
from device.events import Events


@pytest.fixture
def json_log():
    """Read what is logged; the handler writes to this stream, not to the one pytest swaps between its phases."""
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        log.setup("json", "info")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().handlers.clear()


def test_every_line_is_one_json_object_with_time_level_and_message(json_log):
    logging.getLogger("x").warning("two\nlines %s", "ä")
    (line,) = json_log()
    assert (line["level"], line["message"]) == ("warning", "two\nlines ä")
    assert line["time"].endswith("Z")


def test_an_event_is_a_line_with_its_name_and_fields_and_goes_to_mqtt_too(json_log):
    events, published = Events(), []
    events.publish = published.append
    events("stored", "stored it", id="1", duration_s=2.5)
    (line,) = json_log()
    assert (line["event"], line["id"], line["duration_s"]) == ("stored", "1", 2.5)
    assert json.loads(published[0]) == {"event": "stored", "id": "1", "duration_s": 2.5}


def test_a_repeated_warning_is_held_back_and_an_event_never(json_log):
    events = Events()
    for number in range(50):
        logging.getLogger("x").warning("broken %d", number)
        events("wake", "heard")
    lines = json_log()
    assert sum("broken" in line["message"] for line in lines) == log.REPEATS
    assert sum(line.get("event") == "wake" for line in lines) == 50


def test_a_traceback_is_inside_the_json(json_log):
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = json_log()
    assert "ValueError: x" in line["traceback"]
