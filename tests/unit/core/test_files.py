"""The one writer: whole or not at all, on disk when it returns, with the permissions of the umask."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from killing import killed_at_every_step
from magflow.core.files import create_file, install_directory, replace_file
from magflow.errors import InputError, StoreError


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path):
    path, seen = tmp_path / "a" / "b" / "state", set()
    for _ in killed_at_every_step(lambda: replace_file(path, b"new" * 1000), lambda: replace_file(path, b"old")):
        seen.add(path.read_bytes())
    assert seen == {b"old", b"new" * 1000}


@pytest.mark.parametrize(
    ("mask", "mode", "expected"), [(0o022, 0o666, 0o644), (0o077, 0o666, 0o600), (0, 0o600, 0o600)]
)
def test_permissions_are_what_the_umask_leaves(tmp_path, mask, mode, expected):
    (tmp_path / "old").write_text("readable by all")
    (tmp_path / "old").chmod(0o666)
    before = os.umask(mask)
    try:
        for name in ("old", "new"):
            replace_file(tmp_path / name, b"x", mode=mode)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == expected
    finally:
        os.umask(before)


def test_file_name_and_new_directories_are_on_disk_in_that_order(tmp_path, monkeypatch):
    done, fsync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd))[1]
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("named"), rename(a, b))[1])
    replace_file(tmp_path / "new" / "deep" / "file", b"x")
    assert {done[0], done[1]} == {str(tmp_path), str(tmp_path / "new")}
    assert done[2].endswith(".partial") and done[3:] == ["named", str(tmp_path / "new" / "deep")]


def test_a_failed_write_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write a file") as caught:
        replace_file(tmp_path / "file" / "below", b"x")
    assert caught.value.where == str(tmp_path / "file" / "below")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError):
        replace_file(tmp_path / "folder", b"x")
    with pytest.raises(TypeError):
        replace_file(tmp_path / "text", "no bytes")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path):
    path, seen = tmp_path / "new", set()
    for _ in killed_at_every_step(lambda: create_file(path, b"all"), lambda: path.unlink(missing_ok=True)):
        seen.add(path.read_bytes() if path.exists() else None)
    assert seen == {None, b"all"}


def test_a_new_file_takes_no_name_that_is_taken(tmp_path):
    create_file(tmp_path / "deep" / "file", b"mine")
    for path, taken in (("deep/file", "deep/file"), ("deep/file/below", "deep/file"), ("deep", "deep")):
        with pytest.raises((InputError, StoreError)) as caught:
            create_file(tmp_path / path, b"yours")
        assert str(tmp_path / taken) in str(caught.value)
    assert [p.read_bytes() for p in (tmp_path / "deep").iterdir()] == [b"mine"]


def test_a_directory_gets_its_name_when_its_files_are_on_disk(tmp_path, monkeypatch):
    done, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(Path(f"/proc/self/fd/{fd}").readlink().name), fsync(fd))[1]
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (done.append("named"), rename(a, b))[1])
    (tmp_path / "prepared" / "part").mkdir(parents=True)
    (tmp_path / "prepared" / "part" / "file").write_text("x")
    install_directory(tmp_path / "prepared", tmp_path / "directory")
    assert sorted(done[:3]) == ["file", "part", "prepared"] and done[3:] == ["named", tmp_path.name]
    assert (tmp_path / "directory" / "part" / "file").read_text() == "x"


def test_a_directory_whose_files_do_not_reach_the_disk_gets_no_name(tmp_path, monkeypatch):
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "file").write_text("x")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        install_directory(tmp_path / "prepared", tmp_path / "directory")
    assert [p.name for p in tmp_path.iterdir()] == ["prepared"]


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    contents = [bytes([65 + k]) * 100_000 for k in range(4)]

    def write(content):
        for _ in range(10):
            replace_file(tmp_path / "state", content)

    threads = [threading.Thread(target=write, args=(c,)) for c in contents]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (tmp_path / "state").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
