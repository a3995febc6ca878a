"""The one SQLite database: review choice, mute, outbox; safe between threads and processes, and against damage."""

from device.edges.store.folder import become_owner_of, holds_state, owner_of
from device.edges.store.results import (
    Chosen,
    Claimed,
    Damaged,
    Dropped,
    Mute,
    Retained,
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
    "Mute",
    "Retained",
    "Store",
    "StoreEvent",
    "Stored",
    "Waiting",
    "become_owner_of",
    "holds_state",
    "log_event",
    "owner_of",
]
