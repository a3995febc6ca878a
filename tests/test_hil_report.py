"""The page of the bench: its columns, and a row for a recording, for one with two requests, and for a check."""

from __future__ import annotations

import re

from device.hil.report import COLUMNS, add_header, add_row, summary

RESULT, DURATION, LINKS = "<td>Passed</td>", "<td>00:00:09</td>", "<td>links</td>"


def row_of(nodeid, **facts):
    cells = [RESULT, "<td>the test</td>", DURATION, LINKS]
    add_row(nodeid, {name.replace("_", " "): value for name, value in facts.items()}, cells)
    assert (cells[0], cells[-1]) == (RESULT, DURATION)
    return [re.sub("<.*?>", "", cell) for cell in cells[1:-1]]


def test_a_row_has_a_cell_for_each_head_and_no_links():
    heads = ["<th>Result</th>", "<th>Test</th>", "<th>Duration</th>", "<th>Links</th>"]
    add_header(heads)
    assert [re.sub("<.*?>", "", head) for head in heads] == ["Result", "Test", *COLUMNS, "Duration"]
    assert row_of("a/b.wav::b[16000x1]", level="-26 dBFS", clipped="0 samples") == ["b[16000x1]", "-26 dBFS", *[""] * 5]


def test_of_several_requests_each_ones_values_are_shown():
    facts = {
        "to_the_broker": "0.87 s",
        "kept_before": "+0.15 s",
        "to_the_broker_2": "0.91 s",
        "kept_before_2": "+0.1 s",
    }
    assert row_of("b.wav::b", **facts) == ["b", "", "", "", "+0.15 s, +0.1 s", "", "0.87 s, 0.91 s"]


def test_a_check_of_the_bench_shows_beside_its_name_what_it_measured():
    assert row_of("::bench::silence", room="-87 dBFS")[0] == "silence: room -87 dBFS"
    assert row_of("::bench::silence")[0] == "silence"  # it was left out


def test_names_are_shown_as_they_are_and_never_as_markup():
    assert row_of("<i>.wav::<i>x</i>")[0] == "&lt;i&gt;x&lt;/i&gt;"
    assert 'microphone "&lt;USB&gt;"' in summary('hil: microphone "<USB>"').replace("&quot;", '"')
