"""The state folder: who may read it, whose it is, and who may exchange the database in it."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from device import file_lock
from device.errors import StateFolderError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "recorder.db"
BUILDING = ".building"  # a new database that may be half done: thrown away after a crash
MUTE_WITNESS = "muted"
CHOICE_WITNESS = "chosen-"  # and its revision and sense
RESERVE = "reserve"
RESERVE_BYTES = 8_000_000
_OPENING_BYTES = 128 * 1024
BUSY_S = 10.0  # how long SQLite waits for another process at a time
PATIENCE_S = 60.0  # how long one process waits for another before it gives up: the disk may keep that one waiting


def holds_state(state_dir: Path) -> bool:
    """Is there a database in a folder, or a record of a choice or a mute? Yes also where one may not look."""
    try:
        names = os.listdir(state_dir)  # noqa: PTH208 - without a Path for each
    except PermissionError:
        return True
    except OSError:
        return False
    return any(name.startswith((DATABASE, CHOICE_WITNESS, MUTE_WITNESS)) for name in names)


def owner_of(state_dir: Path) -> int | None:
    """Return whose the state folder is; None if it is not there."""
    try:
        return state_dir.stat().st_uid
    except OSError:
        return None


def become_owner_of(state_dir: Path) -> None:
    """Give up root for the owner of the state folder, for the rest of this process.

    A command run as root would else leave files that the daemon's user cannot write. Nothing happens when this process
    is not root, or the folder is root's or does not exist.

    Raises:
        StateFolderError: the folder's owner cannot be taken on.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = state_dir.stat()
    except OSError:  # where it is more than missing, opening it says why
        return
    if owner.st_uid == 0:
        return
    name = _name_of(owner.st_uid)
    try:
        if name:
            os.initgroups(name, owner.st_gid)
        else:
            os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    except OSError as error:
        raise StateFolderError(
            f"{state_dir} belongs to user {owner.st_uid}, whom this command cannot become: {error.strerror}",
            hint="run the command as that user",
        ) from error


class StateFolder:
    """The folder, made private, and a lock on it that outlives any one database file.

    Args:
        path: made if missing, with mode 0700.

    Raises:
        StateFolderError: it cannot be made or is not ours to use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE
        self._database_name = os.fspath(self.database)
        self._witness = path / MUTE_WITNESS
        self._reserve = path / RESERVE
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StateFolderError(f"state folder {path}: {error.strerror}", hint=_advice(path)) from error
        self._owner = os.fstat(self._lock)
        try:
            if self._owner.st_mode & 0o077:
                self._refuse_foreign_files()
                os.fchmod(self._lock, 0o700)
            self._close_to_others()
        except OSError as error:
            os.close(self._lock)
            raise StateFolderError(
                f"state folder {path} cannot be made private: {error.strerror}", hint=_advice(path)
            ) from error

    def _refuse_foreign_files(self) -> None:
        """A folder that others use, /var/lib named by mistake, must not be made private.

        Raises:
            StateFolderError: it holds what is not ours.
        """
        where_a_disk_is_mounted = "lost+found"
        # `answer` is a folder of that command's.
        others_of_ours = ("daemon.lock", "control", "signing-key", "web-password", "answer")
        ours = (DATABASE, MUTE_WITNESS, CHOICE_WITNESS, RESERVE, *others_of_ours, where_a_disk_is_mounted)
        foreign = sorted(file.name for file in self.path.iterdir() if not file.name.startswith(ours))
        if foreign:
            os.close(self._lock)
            raise StateFolderError(
                f"state folder {self.path} holds other files ({foreign[0]!r})", hint="name a folder for it alone"
            )

    def _close_to_others(self) -> None:
        """Give back their mode to files that were copied here, from a backup for example."""
        for file in self.path.iterdir():
            with suppress(OSError):  # gone meanwhile, or somebody else's
                status = file.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                    file.chmod(0o600)

    def close(self) -> None:
        """Let go of the folder; nothing can be done with it afterwards."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1  # the number may soon be another file's

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the database file where it is: while anybody does, nobody exchanges it for another.

        Raises:
            StoreBusyError: another process held the folder alone for too long.
        """
        self._take(file_lock.SHARED)
        try:
            yield
        finally:
            file_lock.unlock(self._lock)

    def promote(self) -> None:
        """Inside ``shared``: hold the folder alone for the rest of it, to exchange the database file.

        The shared hold is given up on the way, so another process may have exchanged the file meanwhile.

        Raises:
            StoreBusyError: other processes held it for too long.
        """
        self._take(file_lock.ALONE)

    def _take(self, kind: int) -> None:
        if self._lock < 0:
            raise RuntimeError("the store is closed")
        if not file_lock.lock(self._lock, kind, PATIENCE_S):
            raise StoreBusyError(f"{self.path} is held by another process", hint="try again")

    def inode(self) -> int:
        """Return which file the database is now; 0 if there is none."""
        try:
            return os.stat(self._database_name).st_ino  # noqa: PTH116 - asked for every request
        except FileNotFoundError:
            return 0

    def is_new(self) -> bool:
        """Was nothing ever chosen here, nor a database or remains of one? A first one, half built, does not count."""
        databases = self.path.glob(f"{DATABASE}*")
        return all(file.name.startswith(f"{DATABASE}{BUILDING}") for file in databases) and not any(
            self.path.glob(f"{CHOICE_WITNESS}*")
        )

    def make_private(self, file: Path) -> None:
        """Give a file mode 0600 and the folder's owner.

        By name, never by opening it: closing any descriptor of a file drops this process's POSIX locks on it, SQLite's
        among them.
        """
        file.chmod(0o600)
        if os.geteuid() == 0 and self._owner.st_uid != 0:
            os.chown(file, self._owner.st_uid, self._owner.st_gid)

    def sync(self) -> None:
        """Make renames in the folder last through a power cut."""
        os.fsync(self._lock)

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        disk = os.fstatvfs(self._lock)
        return disk.f_bavail * disk.f_frsize

    def keep_reserve(self) -> None:
        """Hold some of the disk back for opting out and deleting, which need room in the log even when it is full."""
        with suppress(OSError):
            if self._reserve.stat().st_size >= RESERVE_BYTES:
                return
        with suppress(OSError):  # the disk is full: another time
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
            self.make_private(self._reserve)

    def lend_of_reserve(self) -> None:
        """Give so much of the reserve back to the disk as opening the database takes."""
        with suppress(OSError):
            os.truncate(self._reserve, max(self._reserve.stat().st_size - _OPENING_BYTES, 0))

    def spend_reserve(self) -> None:
        """Give the reserve back to the disk."""
        with suppress(OSError):  # what it was wanted for will say why it is not to be had
            self._reserve.unlink(missing_ok=True)

    def mute_witnessed(self) -> bool:
        """Does the record beside the database say muted?"""
        return self._witness.exists()


def _advice(path: Path) -> str:
    owner = owner_of(path)
    if owner is None or owner == os.geteuid():
        return "choose another with [device] state_dir, or give it to the user who runs this"
    return f"it belongs to {_name_of(owner) or f'user {owner}'}: use sudo, or choose another with [device] state_dir"


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return ""
