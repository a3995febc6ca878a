"""How and when to connect next, decided without a clock or a socket."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device.sending.reconnect import (
    CALM_S,
    CUTS,
    QUICK_S,
    SLOWEST_LOGIN_S,
    SLOWEST_S,
    SLOWEST_TAKEN_S,
    Reconnect,
    Trouble,
)


def test_pauses_double_up_to_some_seconds_and_start_anew_once_a_connection_was_useful():
    reconnect = Reconnect("auto")
    pauses = [reconnect.pause_s(Trouble.OTHER, 1.0) for _ in range(6)]
    assert pauses == [0.5, 1, 2, 4, 5, 5]
    reconnect.settled()
    assert reconnect.pause_s(Trouble.OTHER, 1.0) == 0.5


def test_after_a_refused_login_pauses_grow_longer_and_another_trouble_ends_that():
    reconnect = Reconnect("auto")
    pauses = [reconnect.pause_s(Trouble.LOGIN, 1.0) for _ in range(8)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert reconnect.pause_s(Trouble.OTHER, 1.0) == 5


def test_jitter_spreads_the_pauses_by_a_fifth():
    assert Reconnect("5").pause_s(Trouble.OTHER, 0.0) == pytest.approx(0.4)


@pytest.mark.parametrize("setting", ["5", "3.1.1"])
def test_a_configured_protocol_is_never_left(setting):
    reconnect = Reconnect(setting)
    for trouble in (Trouble.VERSION, Trouble.CLOSED, Trouble.LOGIN, Trouble.OTHER):
        assert reconnect.pause_s(trouble, 1.0) > 0
        assert reconnect.protocol == setting
    assert reconnect.connected()


def test_a_broker_that_names_its_version_is_spoken_to_in_3_1_1_at_once():
    reconnect = Reconnect("auto")
    assert reconnect.pause_s(Trouble.VERSION, 1.0) == 0
    assert reconnect.protocol == "3.1.1"
    assert reconnect.connected()


def test_after_a_mere_close_3_1_1_is_used_only_when_5_is_closed_again():
    reconnect = Reconnect("auto")
    reconnect.pause_s(Trouble.CLOSED, 1.0)
    assert (reconnect.protocol, reconnect.connected()) == ("3.1.1", False)
    assert reconnect.protocol == "5"
    reconnect.pause_s(Trouble.CLOSED, 1.0)
    assert (reconnect.protocol, reconnect.connected()) == ("3.1.1", True)


@pytest.mark.parametrize("trouble", [Trouble.OTHER, Trouble.LOGIN, Trouble.CLOSED, Trouble.VERSION])
def test_trouble_in_3_1_1_leads_back_to_5_after_a_pause(trouble):
    reconnect = Reconnect("auto")
    reconnect.pause_s(Trouble.CLOSED, 1.0)
    assert reconnect.pause_s(trouble, 1.0) > 0
    assert reconnect.protocol == "5"


def test_each_new_connection_begins_with_5():
    reconnect = Reconnect("auto")
    reconnect.pause_s(Trouble.VERSION, 1.0)
    assert reconnect.connected()
    reconnect.ended()
    assert reconnect.protocol == "5"


def test_a_broker_that_keeps_no_retained_messages_is_tried_at_once_without_any_and_only_once():
    reconnect = Reconnect("5")
    assert reconnect.retain
    assert (reconnect.pause_s(Trouble.RETAIN, 1.0), reconnect.retain) == (0, False)
    assert reconnect.pause_s(Trouble.RETAIN, 1.0) > 0


def test_a_connection_that_has_ended_may_have_messages_retained_again_next_time():
    reconnect = Reconnect("auto")
    reconnect.pause_s(Trouble.RETAIN, 1.0)
    reconnect.connected()
    reconnect.ended()
    assert reconnect.retain


def test_a_message_too_large_slows_down_as_a_refused_login_does():
    reconnect = Reconnect("5")
    assert [reconnect.pause_s(Trouble.OVERSIZE, 1.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_where_another_client_has_our_id_pauses_grow_though_each_connection_was_useful():
    reconnect = Reconnect("5")
    pauses = []
    for _ in range(7):
        reconnect.settled()
        pauses.append(reconnect.pause_s(Trouble.TAKEN, 1.0, lasted_s=60))
        assert reconnect.taken
    assert pauses == [5, 10, 20, 40, 80, 120, 120]


def test_a_connection_that_lasted_ends_the_suspicion():
    reconnect = Reconnect("5")
    for _ in range(4):
        reconnect.pause_s(Trouble.TAKEN, 1.0)
    assert reconnect.pause_s(Trouble.TAKEN, 1.0, lasted_s=CALM_S) == 5
    reconnect.pause_s(Trouble.OTHER, 1.0)
    assert not reconnect.taken


def test_quick_connections_cut_without_a_word_are_another_client_s_doing_from_the_third_on():
    reconnect = Reconnect("3.1.1")
    judged = []
    for _ in range(CUTS + 1):
        reconnect.pause_s(Trouble.CUT, 1.0, lasted_s=1.0)
        judged.append(reconnect.taken)
    assert judged == [False, False, True, True]


@pytest.mark.parametrize("between", [(Trouble.OTHER, 0.0), (Trouble.CUT, QUICK_S)])
def test_a_broker_that_goes_away_or_a_cut_now_and_then_is_nobody_s_doing(between):
    reconnect = Reconnect("5")
    for _ in range(5):
        for trouble, lasted_s in ((Trouble.CUT, 1.0), (Trouble.CUT, 1.0), between):
            reconnect.pause_s(trouble, 1.0, lasted_s)
            assert not reconnect.taken


@given(st.lists(st.sampled_from([*Trouble, "connected", "settled", "ended"]), max_size=200), st.floats(0, 1))
@example([*[Trouble.LOGIN] * 4, Trouble.OVERSIZE], 0.0)  # which goes on where the refused logins were
def test_whatever_happens_there_are_never_four_attempts_without_a_pause(steps, jitter):
    reconnect = Reconnect("auto")
    unpaused = 0
    for step in steps:
        if isinstance(step, Trouble):
            pause_s = reconnect.pause_s(step, jitter)
            slowest_s = SLOWEST_LOGIN_S if step in (Trouble.LOGIN, Trouble.OVERSIZE) else SLOWEST_S
            assert 0 <= pause_s <= (SLOWEST_TAKEN_S if reconnect.taken else slowest_s)
            unpaused = 0 if pause_s else unpaused + 1
            assert unpaused <= 3
        elif step == "connected":
            if reconnect.connected():
                unpaused = 0
        elif step == "settled":
            reconnect.settled()
        else:
            reconnect.ended()
            unpaused = 0
