"""A disk that is full or may only be read: nothing half stored, nothing lost, and it goes on when the disk does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.stores import bytes_of, database_of, drain, open_store, pcm_of, put, read_anew, take

from device.edges.store.folder import RESERVE_BYTES
from device.errors import StateFolderError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk to fill")

SAMPLES = 40_000


def mount(*arguments: object) -> None:
    mounted = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount: {mounted.stderr.strip()}")


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", folder)
    (folder / "state").mkdir()
    yield folder / "state"
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk to its last byte with a file of somebody else's."""
    ballast = disk.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def put_until_full(store) -> list[str]:
    kept = []
    try:
        for seed in range(1000):
            kept.append(put(store, seed, SAMPLES).tag.id)  # noqa: PERF401 (those before the last count)
    except StoreBusyError as error:
        assert error.retry
        assert "full" in error.message
        assert "free some space" in error.hint
    return kept


def test_an_outbox_that_filled_its_disk_refuses_the_next_whole_sends_the_rest_and_goes_on(disk):
    events: list = []
    with open_store(disk, report=events.append) as store:
        kept = put_until_full(store)
        assert [each.id for each in store.waiting()] == kept
        assert 50 < len(kept) < 1000
        assert [claimed.pcm for claimed in drain(store)] == [pcm_of(seed, SAMPLES) for seed in range(len(kept))]
        assert store.counters() == {"acknowledged": len(kept), "stored": len(kept)}
        put(store, 2000, SAMPLES)
        assert take(store).pcm == pcm_of(2000, SAMPLES)
        assert events == []
        assert pcm_of(0, SAMPLES)[:64] not in bytes_of(disk)


def test_a_full_disk_keeps_nobody_from_opting_out(disk):
    with open_store(disk) as store:
        for seed in range(20):
            put(store, seed, SAMPLES)
        ballast = fill(disk)
        assert store.choose(True).retagged == 20
        ballast.unlink()
        assert all(claimed.tag.review.opt_out for claimed in drain(store))


def test_a_full_disk_keeps_nobody_from_muting(disk):
    with open_store(disk) as store:
        fill(disk)
        store.set_muted(True)
        assert store.muted().muted


def test_a_full_disk_keeps_nobody_from_deleting(disk):
    with open_store(disk) as store:
        kept = put_until_full(store)
        assert store.delete() == len(kept)
        put(store, 2000, SAMPLES)


def test_what_is_sent_from_a_full_disk_is_deleted_before_it_has_room_again(disk):
    events: list = []
    with open_store(disk, report=events.append) as store:
        for seed in range(5):
            put(store, seed, SAMPLES)
        fill(disk)
        assert len(drain(store)) == 5
        assert store.counters()["acknowledged"] == 5
        assert events == []


def test_a_start_on_a_full_disk_takes_no_more_of_the_reserve_than_it_needs_and_opting_out_still_works(disk):
    with open_store(disk) as store:
        for seed in range(20):
            put(store, seed, SAMPLES)
    fill(disk)
    with open_store(disk) as store:
        assert (disk / "reserve").stat().st_size > RESERVE_BYTES - 200_000
        fill(disk)
        assert store.choose(True).retagged == 20


def test_the_reserve_is_made_again_once_there_is_room(disk):
    with open_store(disk) as store:
        put(store, 1)
        ballast = fill(disk)
        store.choose(True)
        store.choose(False)
        ballast.unlink()
        store.flush()
        assert (disk / "reserve").stat().st_blocks * 512 >= 8_000_000


def damage(disk: Path, what: str = "first page") -> None:
    """Overwrite the page that everything begins with, or only what it says of the schema's version."""
    with (disk / "recorder.db").open("r+b") as file:
        file.seek(0 if what == "first page" else 60)
        file.write(bytes(4096) if what == "first page" else b"\0\0\0\x63")


@pytest.mark.parametrize("what", ["first page", "version"])
@pytest.mark.parametrize("waiting", [5, 140])
def test_a_damaged_outbox_on_a_full_disk_is_saved_as_room_comes_and_new_requests_are_taken_meanwhile(
    disk, waiting, what, ledger
):
    """140 requests are 11 MB, more than the reserve holds."""
    with open_store(disk) as store:
        store.choose(False)
        ids = [put(store, seed, SAMPLES).tag.id for seed in range(waiting)]
    ballast = fill(disk)
    damage(disk, what)
    events: list = []
    with open_store(disk, report=events.append) as store:
        (damaged,) = [event for event in events if event.event == "store-damaged"]
        lost, left = damaged.fields["lost"], damaged.fields["left"]
        assert damaged.fields["saved"] + lost + left == waiting
        assert (left > 0) == (waiting * 2 * SAMPLES > RESERVE_BYTES)
        assert store.review().choice == "unreadable"
        new = put(store, 2000, SAMPLES).tag.id
        rounds, sent = 0, []
        while store.count():
            sent += drain(store)
            rounds += 1
        assert rounds > 1 or not left
        if left:
            ballast.unlink()
            store.flush()
            sent += drain(store)
            assert [event.event for event in events].count("store-salvaged") == 1
        assert "saved_up_to" not in store.counters()
    assert all(claimed.tag.review.opt_out for claimed in sent)
    arrived = [claimed.tag.id for claimed in sent]
    assert sorted(arrived) == sorted(set(arrived))
    assert arrived[0] == ids[0]
    ledger("damaged outbox on a full disk", injected=1, stored=waiting + 1, lost=len({*ids, new} - set(arrived)))
    assert set(arrived) == {*ids, new}
    assert lost == 0


def test_what_damage_holds_back_for_want_of_room_is_gone_once_the_user_deletes_everything(disk):
    with open_store(disk) as store:
        for seed in range(140):
            put(store, seed, SAMPLES)
    ballast = fill(disk)
    damage(disk)
    with open_store(disk) as store:
        assert 0 < store.delete() < 140
        ballast.unlink()
        store.flush()
        assert store.count() == 0
    with open_store(disk) as store:
        assert store.count() == 0


def test_a_process_that_ends_while_requests_wait_for_room_leaves_them_to_the_next_start(disk):
    with open_store(disk) as store:
        ids = [put(store, seed, SAMPLES).tag.id for seed in range(140)]
    ballast = fill(disk)
    damage(disk)
    with open_store(disk) as store:
        assert 0 < store.count() < 140
    ballast.unlink()
    with open_store(disk) as store:
        assert [claimed.tag.id for claimed in drain(store)] == ids


def left_waiting(disk: Path, waiting: int = 140) -> tuple[list[str], Path]:
    """Let a full disk have no room for all that a damaged database held; returns the ids told and the ballast."""
    with open_store(disk) as store:
        ids = [put(store, seed, SAMPLES).tag.id for seed in range(waiting)]
    ballast = fill(disk)
    damage(disk)
    with open_store(disk) as store:
        assert 0 < store.count() < waiting
    return ids, ballast


@pytest.mark.parametrize("what", ["version", "first page", "everything"])
def test_requests_that_wait_in_one_damaged_database_outlive_the_damage_of_the_next_ones(disk, what, ledger):
    """Where the second is lost as a whole, what had been saved into it is saved once more from the first."""
    ids, ballast = left_waiting(disk)
    for seed in (2000, 2001):
        with open_store(disk) as store:
            new = put(store, seed, 800).tag.id
            ids += [new] if what != "everything" else []
        if what == "everything":
            size = (disk / "recorder.db").stat().st_size
            (disk / "recorder.db").write_bytes(b"\xa5" * size)
        else:
            damage(disk, what)
    with open_store(disk) as store:
        assert len([each for each in store.damaged() if each.waits]) > 1
        sent = drain(store)
        ballast.unlink()
        while store.count() or any(each.waits for each in store.damaged()):
            store.flush()
            sent += drain(store)
    arrived = [claimed.tag.id for claimed in sent]
    assert all(claimed.tag.review.opt_out for claimed in sent)
    ledger("damage upon damage on a full disk", injected=3, stored=len(ids), lost=len(set(ids) - set(arrived)))
    assert set(arrived) == set(ids)
    assert len(arrived) == len(ids)
    assert arrived[:60] == ids[:60]


def test_what_left_while_others_wait_for_room_never_comes_back_whatever_is_damaged_next(disk):
    ids, ballast = left_waiting(disk)
    with open_store(disk) as store:
        (sent, deleted), kept = [each.id for each in store.waiting()][:2], [each.id for each in store.waiting()][2]
        store.acknowledge(sent)
        store.flush()
        store.delete([deleted])
        store.acknowledge(kept)  # taken by the broker, not deleted yet
        read_anew(disk)
        (disk / "recorder.db").write_bytes(bytes(40_960))
    ballast.unlink()
    with open_store(disk) as store:
        store.flush()
        arrived = {claimed.tag.id for claimed in drain(store)}
    assert arrived == set(ids) - {sent, deleted, kept}
    assert not list(disk.glob("*.damaged-*"))
    assert not (disk / "recorder.db.gone").exists()


def test_what_cannot_be_kept_for_a_person_yet_waits_where_it_is(disk):
    """The one request that is not what was stored would need more room than there is."""
    with open_store(disk) as store:
        ids = [put(store, seed, 2_000_000).tag.id for seed in range(2)]
        rotten = pcm_of(0, 2_000_000)[:-6] + b"rotten"
        with database_of(disk) as db:
            db.execute("UPDATE audio SET pcm = ? WHERE seq = 1", (rotten,))
    ballast = fill(disk)
    damage(disk, "version")
    with open_store(disk) as store:
        assert [claimed.tag.id for claimed in drain(store)] == ids[1:]
        ballast.unlink()
    with open_store(disk) as store:
        assert [(each.waits, each.requests) for each in store.damaged()] == [(False, 1)]
    assert pcm_of(1, 2_000_000)[:64] not in bytes_of(disk)


def test_a_first_start_on_a_full_disk_says_so_and_may_be_tried_again(disk):
    ballast = fill(disk)
    with pytest.raises(StoreBusyError, match="full"):
        open_store(disk)
    ballast.unlink()
    with open_store(disk) as store:
        assert store.review().choice == "default"


def test_a_read_only_disk_at_the_start_is_said_plainly(disk):
    open_store(disk).close()
    mount("-o", "remount,ro", disk.parent)
    with pytest.raises(StateFolderError, match="disk") as caught:
        open_store(disk)
    assert caught.value.hint


def test_a_card_that_fails_and_turns_read_only_loses_nothing_and_still_tells_the_choice(tmp_path):
    """An ext4 file system acts as on a dying SD card: the kernel makes it read-only under the running store."""
    image, disk = tmp_path / "card", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(32_000_000)
    subprocess.run(["/sbin/mkfs.ext4", "-q", image], check=True)
    mount("-o", "loop,errors=remount-ro", image, disk)
    try:
        device = subprocess.run(["findmnt", "-no", "SOURCE", disk], capture_output=True, text=True, check=True).stdout
        store = open_store(disk)
        store.choose(False)
        kept = put(store, 1).tag.id
        Path(f"/sys/fs/ext4/{Path(device.strip()).name}/trigger_fs_error").write_text("test")
        for change in (lambda: put(store, 2), lambda: store.choose(True), lambda: store.set_muted(True)):
            with pytest.raises(StoreBusyError):
                change()
        assert store.review().choice == "user"
        assert not store.muted().muted
        assert [each.id for each in store.waiting()] == [kept]
        store.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    subprocess.run(["/sbin/e2fsck", "-fy", image], check=False, capture_output=True)
    mount("-o", "loop", image, disk)
    try:
        with open_store(disk) as store:
            assert [claimed.tag.id for claimed in drain(store)] == [kept]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
