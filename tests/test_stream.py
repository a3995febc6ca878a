"""The socket that paho and the connection share: whole packets alternate, whatever pieces the network makes."""

from __future__ import annotations

import socket

import pytest

from device.edges.mqtt.stream import Stream

ANSWER = b"\x40\x04\x12\x34\x87\x00"
PING = b"\xd0\x00"
LONG = b"\x30\x82\x01" + bytes(range(130))


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield Stream(ours), theirs


def read(stream):
    """Return what is an answer and what paho reads, in order, as a connection would."""
    got = []
    stream.fill()
    while True:
        if (answer := stream.answer()) is not None:
            got.append(("answer", answer))
        elif stream.for_paho():
            piece = stream.recv(7)
            got.append(("paho", piece))
            if not piece:
                return got
        else:
            return got


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_answers_and_pahos_packets_are_told_apart_however_they_are_cut(pair, size):
    stream, theirs = pair
    sent = PING + ANSWER + LONG + ANSWER + ANSWER + LONG + PING
    answers, for_paho = [], b""
    for start in range(0, len(sent), size):
        theirs.sendall(sent[start : start + size])
        for whose, data in read(stream):
            if whose == "answer":
                answers.append(data)
            else:
                for_paho += data
    assert answers == [ANSWER[2:]] * 3
    assert for_paho == PING + LONG + LONG + PING


def test_paho_never_gets_a_byte_of_the_packet_behind_its_own(pair):
    stream, theirs = pair
    theirs.sendall(PING + ANSWER)
    stream.fill()
    assert stream.answer() is None
    assert stream.for_paho()
    assert stream.recv(100) == PING
    with pytest.raises(BlockingIOError):
        stream.recv(100)
    assert stream.answer() == ANSWER[2:]


@pytest.mark.parametrize("left", [b"", b"\x40", b"\x40\x04\x12", b"\x30\x82", b"\x30\x05ab"])
def test_the_end_is_shown_to_paho_also_within_a_packet(pair, left):
    stream, theirs = pair
    theirs.sendall(ANSWER + left)
    theirs.close()
    got = read(stream) + read(stream)
    assert got[0] == ("answer", ANSWER[2:])
    assert b"".join(data for whose, data in got[1:]) == left
    assert got[-1] == ("paho", b"")


def test_an_answer_that_claims_to_be_very_long_is_an_error_and_not_awaited(pair):
    stream, theirs = pair
    theirs.sendall(b"\x40\xff\xff\xff\xff\x7f")
    stream.fill()
    with pytest.raises(ValueError, match="length"):
        stream.answer()


def test_what_the_socket_does_not_take_follows_in_order_also_between_pahos_packets_and_ours(pair):
    stream, theirs = pair
    first, second = bytes(3_000_000), b"\1" * 100
    assert stream.send(first) == len(first)
    assert stream.unsent > 0
    assert stream.send(second) == len(second)
    got = bytearray()
    while len(got) < len(first) + len(second):
        got += theirs.recv(1_000_000)
        stream.flush()
    assert got == first + second
    assert stream.unsent == 0
    assert stream.writes > 1


def test_a_socket_that_cannot_be_written_says_so_and_what_the_other_side_said_last_can_be_read(pair):
    stream, theirs = pair
    theirs.sendall(ANSWER)
    theirs.close()
    with pytest.raises(BrokenPipeError):
        stream.send(b"x")
    assert isinstance(stream.broken, BrokenPipeError)
    stream.fill()
    assert stream.answer() == ANSWER[2:]
