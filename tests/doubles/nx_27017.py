"""``nx-27017``: MongoDB's wire protocol over SQLite, written by others; a second opinion beside the wire double.

It is installed in an environment of its own (``make test-nx``), since it pins what it stands on. What it cannot do is
listed here, each with its reason: a test that passes in spite of it fails, so that the list stays true.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PROGRAM = "MAGFLOW_TEST_NX"
"""Environment variable that names the program, if it is not on the path."""

GAPS = {
    "test_indexes_are_created_once_and_keep_jobs_unique[nx-27017]": "it keeps no direction of an index, nor its code",
    "test_an_index_that_is_not_unique_and_jobs_with_two_documents_are_refused[nx-27017]": "its error has no code 11000",
    "test_documents_that_mongodb_cannot_hold_are_told[nx-27017-value0-too large]": "it takes documents above 16 MB",
    "test_queries[nx-27017-query4-expected4]": "it does not look into lists by position",
    "test_queries[nx-27017-query7-expected7]": "it has no $not",
    "test_updates[nx-27017]": "it does not sort while it pushes",
    "test_indexes_and_unique_keys[nx-27017]": "it keeps no direction of an index",
    "test_aggregation[nx-27017]": "it joins by equal fields only",
}
"""Tests of ``tests/unit`` that it fails, and why."""


def program() -> str | None:
    """The program; None if there is none."""
    return shutil.which(os.environ.get(PROGRAM, "nx-27017"))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """URI of a new server that keeps its data in `folder`."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program()), "--data-dir", str(folder), "-p", str(port)]
    files = ["--log-file", str(folder / "log"), "--pid-file", str(folder / "pid")]
    with subprocess.Popen([*command, *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            yield f"mongodb://127.0.0.1:{port}/"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(port: int, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("nx-27017 does not start")
