"""A file is written whole or not at all, with the mode asked for, and over another only if that is wanted."""

import os

import pytest

from device.whole_file import write_whole


@pytest.fixture(autouse=True)
def strict_umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_the_file_holds_the_content_with_the_mode_asked_for_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "file", b"one" * 9, mode=0o644)
    write_whole(tmp_path / "file", b"two", mode=0o644)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_what_is_there_stays_where_nothing_is_to_be_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "file", b"other", replace=False)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("step", ["fchmod", "fsync"])
def test_what_fails_on_the_way_leaves_what_was_there_and_no_rest(tmp_path, monkeypatch, step):
    (tmp_path / "file").write_bytes(b"before")
    monkeypatch.setattr(os, step, failing)
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def failing(*_):
    raise OSError(28, "no space")
