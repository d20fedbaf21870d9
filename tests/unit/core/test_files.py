"""The one writer: whole or not at all, on disk when it returns, with the permissions of the umask."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from killing import killed_at_every_step
from magflow.core.files import replace_file
from magflow.errors import StoreError


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
