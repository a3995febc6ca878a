"""The ids of answered requests outlive restarts, power cuts and full disks, and are all that is kept."""

import os
import stat
import threading

import pytest
from support.daemon import Device

from device.edges import answered as module
from device.edges.answered import Answered
from device.errors import StateFolderError, StoreBusyError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "answer"


def test_an_id_is_known_again_after_a_restart(folder):
    first = Answered(folder)
    assert "one" not in first
    first.add("one")
    first.close()
    assert "one" in Answered(folder)
    assert "two" not in Answered(folder)


def test_only_its_user_may_look(folder):
    Answered(folder).add("one")
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "answered").stat().st_mode) == 0o600


def test_a_recorder_that_is_started_later_takes_the_state_folder_for_its_own(tmp_path):
    """Though systemd makes it for `answer` first, readable by all."""
    device = Device(tmp_path)
    Answered(tmp_path / "state" / "answer")
    (tmp_path / "state").chmod(0o755)
    done = device.call("review", "status")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_id_stands_there_once(folder):
    answered = Answered(folder)
    answered.add("one")
    answered.add("one")
    assert (folder / "answered").read_text() == "one\n"


@pytest.mark.parametrize("rest", [b"tw", b"tw\0\xff"])
def test_half_a_line_of_a_power_cut_is_no_id_and_spoils_no_other(folder, rest):
    Answered(folder).add("one")
    with (folder / "answered").open("ab") as file:
        file.write(rest)
    answered = Answered(folder)
    answered.add("two")
    assert (folder / "answered").read_text() == "one\ntwo\n"


def test_the_newest_are_kept_and_the_file_does_not_grow_for_ever(folder, monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    answered = Answered(folder)
    for number in range(45):
        answered.add(str(number))
    lines = (folder / "answered").read_text().split()
    assert lines[-10:] == [str(number) for number in range(35, 45)]
    assert len(lines) <= 20
    assert all(one in Answered(folder) for one in lines[-10:])


def test_threads_that_add_at_once_lose_nothing(folder):
    answered = Answered(folder)
    ids = [[f"{thread}-{number}" for number in range(50)] for thread in range(4)]
    threads = [threading.Thread(target=lambda some=some: [answered.add(one) for one in some]) for some in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set((folder / "answered").read_text().split()) == {one for some in ids for one in some}


def test_what_the_disk_does_not_take_is_not_known_and_leaves_no_half_line(folder, monkeypatch):
    answered = Answered(folder)
    answered.add("one")
    real = os.write
    monkeypatch.setattr("os.write", lambda file, content: real(file, content[:2]))  # as a disk that is just full does
    with pytest.raises(StoreBusyError, match="No space left on device; without it a request might be answered twice"):
        answered.add("two")
    assert "two" not in answered
    monkeypatch.undo()
    assert (folder / "answered").read_text() == "one\n"
    answered.add("two")
    assert (folder / "answered").read_text() == "one\ntwo\n"


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        StateFolderError, match=r"(File exists|Not a directory); the ids of answered requests are kept there"
    ):
        Answered(tmp_path / "file" / "answer")
