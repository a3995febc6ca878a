"""A new database in the place of a missing or damaged one; a crash at any point leaves the old one or the new."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from device.edges.store import choice, schema
from device.edges.store.folder import BUILDING, DATABASE

if TYPE_CHECKING:
    from pathlib import Path

    from device.edges.store.folder import StateFolder
    from device.edges.store.set_aside import SetAside
    from device.message.timestamps import Now

_READY = ".ready"  # complete and synced: after a crash the exchange is finished with it


def replace(folder: StateFolder, set_aside: SetAside, *, first_start: bool, now: Now) -> Path | None:
    """Put a new database in place, without requests; call it with the folder held alone.

    Args:
        folder: the state folder.
        set_aside: where the old database goes.
        first_start: was there never a database here? Else nobody knows what the user chose.
        now: when.

    Returns:
        What the old one is called now; None if there was none.
    """
    building = _beside(folder, BUILDING)
    _remove(building)
    folder.spend_reserve()  # the store makes it again
    with closing(schema.connect(building, new=True)) as new:
        folder.make_private(building)
        schema.migrate(new)
        with schema.transaction(new):
            choice.begin(new, first_start=first_start, muted=folder.mute_witnessed(), wall_ns=now.wall_ns)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(schema.connect(building)) as new:
        schema.check(new)  # a disk that only gives errors now must not cost the old one its place
    building.rename(_beside(folder, _READY))
    folder.sync()
    return finish(folder, set_aside, now)


def finish(folder: StateFolder, set_aside: SetAside, now: Now) -> Path | None:
    """Put a ready database in place if one lies there, as after a crash; returns what the old one is called now."""
    ready = _beside(folder, _READY)
    if not ready.exists():
        return None
    old = None
    if any(_beside(folder, suffix).exists() for suffix in ("", "-wal", "-shm")):
        old = set_aside.put(now.wall_ns)
    ready.rename(folder.database)
    folder.sync()
    return old


def unfinished(folder: StateFolder) -> bool:
    """Did a crash leave a ready database that is not in place yet?"""
    return _beside(folder, _READY).exists()


def _beside(folder: StateFolder, suffix: str) -> Path:
    return folder.path / f"{DATABASE}{suffix}"


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
