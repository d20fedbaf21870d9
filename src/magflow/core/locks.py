"""Locks on files that go with the process that holds them, however it ends.

The kernel lets go of them when the file is closed. On a network file system they hold among all machines that mount
it; a machine that has died holds them until its server has missed it for a while (NFS: the lease, usually 90 s).

Two locks are taken. That of ``flock`` is what earlier releases of magflow look for. But NFS clients turn it into a lock
on the bytes of the file, and ``flock`` on the machine that serves the directory neither sees that nor is seen by them.
The lock of an open file on its bytes (``fcntl(2)``, F_OFD_SETLK) is the same for all.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import IO, Any

_RANGE = struct.Struct("hhqqi0q")  # struct flock: type, whence, start, length (0: all), process (0: none is named)


def take_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Take the lock on an open file, at once or not at all.

    Parameters
    ----------
    shared
        Beside others that want it shared; the file must be open for reading, otherwise for writing.

    Returns
    -------
    bool
        False if another process, or another opening of the file, holds it.

    Raises
    ------
    OSError
        Where the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if hasattr(fcntl, "F_OFD_SETLK"):  # Linux
        kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _RANGE.pack(kind, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                fcntl.flock(file, fcntl.LOCK_UN)
                return False
            # a file system that knows flock alone
    return True
