"""Connections to an SQLite file that many processes and threads write at once.

One connection per (process, thread, file), shared by everything in that thread, so that a document, its
blobs and the queue entry that belongs to it can be written in one transaction (:func:`transaction`).

Durability. The file is in write-ahead-log mode. With ``synchronous=FULL`` (the default) a committed transaction
survives the death of any process (``kill -9``) and a power failure, for one disk flush per transaction: about a
millisecond, where a label costs seconds. With ``NORMAL`` a power failure or kernel crash may undo the last committed
transactions, never damage the file: the jobs concerned run again.
(https://www.sqlite.org/pragma.html#pragma_synchronous)
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import psutil

from magflow.core.files import is_listed
from magflow.errors import StoreError

BUSY_TIMEOUT = 60.0
"""Seconds a transaction waits for another process's transaction."""

_NETWORK = (
    "nfs nfs3 nfs4 lustre gpfs beegfs cifs smb smb2 smb3 smbfs ceph afs 9p glusterfs orangefs panfs ncpfs wekafs "
    "dvs virtiofs gfs gfs2 ocfs2 fhgfs vboxsf vmhgfs prl_fs juicefs davfs coda "
    "fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.juicefs fuse.gpfs fuse.beegfs fuse.lustre fuse.rclone"
)
NETWORK_FILE_SYSTEMS = frozenset(_NETWORK.split())
"""File systems on which the shared memory of a write-ahead log does not work between machines."""

_HINTS = {
    "full": "free some space (or raise the quota) and run again: everything acknowledged is kept",
    "readonly": "make the directory writable, or choose another one",
    "cantopen": "check that the directory exists and is writable",
    "notadb": "choose another directory, or restore the file from a backup",
    "corrupt": "restore the file from a backup, or recover it with `sqlite3 FILE .recover`",
    "locked": "another process has held the store for over a minute; stop it, then run again",
    "other": "see the message of SQLite above",
}

_ELSEWHERE = "run the campaign in a directory on a local disk, or use a MongoDB store"

_local = threading.local()
_inherited: list[sqlite3.Connection] = []  # connections of a parent process: never used, never closed (see _forget)


def explain(error: sqlite3.Error, path: str | Path) -> StoreError:
    """The :class:`StoreError` that says what `error` means for the file at `path`."""
    text = str(error)
    kinds = {
        "full": ("disk is full", "disk I/O error", "max_page_count"),
        "readonly": ("readonly", "read-only"),
        "cantopen": ("unable to open",),
        "notadb": ("file is not a database", "file is encrypted"),
        "corrupt": ("malformed", "corrupt"),
        "locked": ("locked", "busy"),
    }
    kind = next((k for k, marks in kinds.items() if any(m in text for m in marks)), "other")
    messages = {
        "full": "the store cannot grow: the disk is full or failing",
        "readonly": "the store is read-only",
        "cantopen": "the store cannot be opened",
        "notadb": "this file is not a store",
        "corrupt": "the store is damaged",
        "locked": "the store is locked",
        "other": "the store cannot be used",
    }
    return StoreError(messages[kind], where=str(path), seen=text, hint=_HINTS[kind])


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn SQLite's errors into a :class:`StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


@lru_cache(maxsize=64)
def refuse_network_file_system(directory: str) -> None:
    """Raise :class:`StoreError` if `directory` is on a network file system (a write-ahead log fails there)."""
    where = Path(directory).resolve()
    mounts = {p.mountpoint: p.fstype.lower() for p in psutil.disk_partitions(all=True)}
    mount = next((str(p) for p in (where, *where.parents) if str(p) in mounts), None)
    if mount is not None and mounts[mount] in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            "the embedded store needs a local disk",
            where=directory,
            seen=f"a {mounts[mount]} file system mounted at {mount}",
            expected="a local file system such as ext4, xfs, btrfs or tmpfs",
            hint=_ELSEWHERE,
        )
    _require_locks_and_shared_memory(where)


def _unfit(directory: Path) -> StoreError | None:
    """Why no store can be written in `directory`, whoever may; None if one can."""
    try:
        refuse_network_file_system(str(directory.absolute()))
    except StoreError as error:
        return error
    return None


def _require_locks_and_shared_memory(directory: Path) -> None:
    """Try what a write-ahead log stands on, whatever the file system calls itself; where nothing can be written, not.

    It shows a file system that cannot do it at all; that it does not do so between machines only its name tells.
    """
    try:
        with TemporaryFile(dir=directory) as file:
            file.write(bytes(mmap.PAGESIZE))
            file.flush()
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE) as one, mmap.mmap(file.fileno(), mmap.PAGESIZE) as other:
                one[0] = 1
                shared = other[0] == 1
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT):
            return  # SQLite will say so
        shared = False
    if not shared:
        raise StoreError(
            "the embedded store needs a file system with locks and shared memory",
            where=str(directory),
            expected="a local file system such as ext4, xfs, btrfs or tmpfs",
            hint=_ELSEWHERE,
        )


def connect(path: str | Path, synchronous: str = "FULL") -> sqlite3.Connection:
    """Return this thread's connection to the file at `path`, opened (and the file created) on first use.

    A file that this process may not write, on a read-only medium, in the directory of somebody else or on a network
    file system, is opened as by :func:`connect_readonly`; who writes all the same gets a :class:`StoreError`.

    Raises
    ------
    StoreError
        If the file cannot be opened, is no SQLite file, or would be made on a network file system.
    """
    path = str(Path(path).absolute())
    pool = _pool()
    if (con := pool.get(path)) is None and not is_writable(path):
        pool[path] = con = connect_readonly(path)
    if con is None:
        refuse_network_file_system(str(Path(path).parent))
        with explained(path):
            con = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                con.execute("PRAGMA journal_mode=WAL")
                con.execute(f"PRAGMA synchronous={synchronous}")
                con.execute("PRAGMA journal_size_limit=67108864")
                con.execute("PRAGMA wal_autocheckpoint=4000")
            except sqlite3.Error:
                con.close()
                raise
        pool[path] = con
    return con


def connect_readonly(path: str | Path) -> sqlite3.Connection:
    """Return a new read-only connection to an existing file; the caller closes it.

    Raises
    ------
    StoreError
        If there is no such file, or it cannot be read; on a network file system also if some machine has it open.
    """
    path = Path(path).absolute()
    if not path.is_file():
        hint = "give the directory of a campaign that was run"
        raise StoreError("there is no store here", where=str(path), hint=hint)
    log, index = (path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))
    if (unfit := _unfit(path.parent)) is not None and is_listed(index):
        raise StoreError(
            "the embedded store is open on another machine, or was when its process died",
            where=str(path),
            seen=unfit.seen,
            hint="ask on the machine whose disk this is, or copy the directory to a local disk",
        )
    if unfit is None and (os.access(path.parent, os.W_OK) or index.exists()):
        return _opened(path)
    # nobody has it open, and there is no place for the index of a log
    if not (log.exists() and log.stat().st_size):
        return _opened(path, immutable=True)
    return _merged_copy(path, log)


def is_writable(path: str | Path) -> bool:
    """Whether this process may write the file at `path`, where a store can be written, or there is none yet."""
    path = Path(path)  # the log is beside it
    if not path.is_file():
        return True
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) and _unfit(path.parent) is None


def _opened(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
    with explained(path):
        con = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            con.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            con.close()
            raise
    return con


def _merged_copy(path: Path, log: Path) -> sqlite3.Connection:
    """A connection to a copy in which what the log holds is in the file; the copy has no name any more."""
    with TemporaryDirectory(prefix="magflow-") as folder, explained(path):
        copy = Path(folder) / path.name
        try:
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
        except OSError as error:
            raise StoreError("the store cannot be read", where=str(path), seen=error.strerror) from error
        with closing(sqlite3.connect(copy)) as con:
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return _opened(copy, immutable=True)


def merge_log(path: str | Path) -> None:
    """Move the write-ahead log into the file itself, as far as readers allow: one complete file is left to copy."""
    con = connect(path)
    with suppress(sqlite3.OperationalError):  # a reader is at work, or no room: the log stays, nothing is lost
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def disconnect(path: str | Path) -> None:
    """Close this thread's connection to `path`, if it has one and no transaction is open on it."""
    pool = _pool()
    con = pool.get(str(Path(path).absolute()))
    if con is not None and not con.in_transaction:
        del pool[str(Path(path).absolute())]
        con.close()


@contextmanager
def transaction(path: str | Path, synchronous: str = "FULL") -> Iterator[sqlite3.Connection]:
    """One write transaction; nested calls in the same thread join the outermost one.

    All or nothing: any exception undoes everything written since the outermost call.

    Raises
    ------
    StoreError
        If the file may only be read, even where a reader's temporary table would take what is written.
    """
    con = connect(path, synchronous)
    if con.in_transaction:
        yield con
        return
    if not is_writable(path):
        refuse_network_file_system(str(Path(path).absolute().parent))
        raise explain(sqlite3.OperationalError("attempt to write a readonly database"), path)
    with explained(path):
        con.execute("BEGIN IMMEDIATE")
    try:
        yield con
        with explained(path):
            con.execute("COMMIT")
    except BaseException as error:
        if con.in_transaction:  # SQLite itself rolls back on a full disk
            with suppress(sqlite3.Error):
                con.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise explain(error, path) from error
        raise


def _pool() -> dict[str, sqlite3.Connection]:
    """The connections of this thread of this process, by path."""
    if getattr(_local, "pid", None) != os.getpid():
        _forget()
        _local.pid, _local.pool = os.getpid(), {}
    pool: dict[str, sqlite3.Connection] = _local.pool
    return pool


def _forget() -> None:
    """After a fork: leave the parent's connections alone.

    Closing one here could drop the parent's file locks (https://www.sqlite.org/howtocorrupt.html, 2.6).
    """
    _inherited.extend(getattr(_local, "pool", {}).values())
