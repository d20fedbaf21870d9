"""Locks: one holder, or several that share; heeded by those who know either kind alone."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import ExitStack

import pytest

from magflow.core.locks import take_lock


def by_flock(file):
    """As earlier releases of magflow."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def by_bytes(file):
    """As the server of a network file system for its clients."""
    whole = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def opened(tmp_path):
    with ExitStack() as stack:
        yield lambda: stack.enter_context((tmp_path / "lock").open("a+"))


@pytest.mark.parametrize("other", [take_lock, by_flock, by_bytes])
def test_the_holder_is_the_only_one(opened, other):
    holder = opened()
    assert take_lock(holder)
    assert not other(opened())
    holder.close()
    assert other(opened())


@pytest.mark.parametrize("other", [by_flock, by_bytes])
def test_who_finds_it_held_keeps_nothing(opened, other):
    """A lock taken by half would keep out the next one for as long as the file stays open."""
    holder, late = opened(), opened()
    assert other(holder)
    assert not take_lock(late)
    holder.close()
    for kind in (by_flock, by_bytes):
        with opened() as next_one:
            assert kind(next_one)


def test_some_share_it(opened):
    first = opened()
    assert take_lock(first, shared=True) and take_lock(opened(), shared=True)
    assert not take_lock(opened())


def test_it_is_kept_when_the_file_is_opened_and_closed_again(opened):
    assert take_lock(opened())
    opened().close()
    assert not take_lock(opened())


def test_a_child_that_outlives_its_parent_keeps_it(opened):
    holder = opened()
    assert take_lock(holder)
    goes_on, end = os.pipe()
    if (child := os.fork()) == 0:
        os.close(end)
        os.read(goes_on, 1)
        os._exit(0)
    holder.close()
    assert not take_lock(opened())
    os.close(end)
    os.waitpid(child, 0)
    assert take_lock(opened())


def test_a_file_system_without_locks_is_an_error(opened, monkeypatch):
    def without(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(OSError, match="No locks"):
        take_lock(opened())
