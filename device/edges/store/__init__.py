"""The one SQLite database: review choice, mute, outbox; safe between threads and processes, and against damage."""

from device.edges.store.folder import become_owner_of, holds_state, owner_of
from device.edges.store.history import History
from device.edges.store.results import (
    Chosen,
    Claimed,
    Damaged,
    Dropped,
    Mute,
    Retained,
    Sent,
    Stored,
    StoreEvent,
    Waiting,
    log_event,
)
from device.edges.store.store import Store

__all__ = [
    "Chosen",
    "Claimed",
    "Damaged",
    "Dropped",
    "History",
    "Mute",
    "Retained",
    "Sent",
    "Store",
    "StoreEvent",
    "Stored",
    "Waiting",
    "become_owner_of",
    "holds_state",
    "log_event",
    "owner_of",
]
