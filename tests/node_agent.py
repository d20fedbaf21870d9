"""Runs commands on a node for tests, by itself: ``python node_agent.py PORT`` on the node.

One connection, one command: a JSON object with ``argv``, ``cwd`` and ``env`` in one line; when the command has ended,
one with ``code``, ``out`` and ``err``. Who hangs up before has the command and what it started killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress


def serve(port: int) -> None:
    """Answer for ever."""
    with socket.create_server(("", port)) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, tempfile.TemporaryFile(dir="/run") as out, tempfile.TemporaryFile(dir="/run") as err:
        command = json.loads(connection.makefile().readline())
        try:
            process = subprocess.Popen(
                command["argv"],
                cwd=command["cwd"],
                env=command["env"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            answer = {"code": 127, "out": "", "err": str(error)}
        else:
            if not _ended(process, connection):
                return
            answer = {"code": process.returncode, "out": _text(out), "err": _text(err)}
        with suppress(OSError):
            connection.sendall(json.dumps(answer).encode())


def _ended(process: subprocess.Popen[bytes], connection: socket.socket) -> bool:
    """Wait for its end; False if the other side has hung up before."""
    while process.poll() is None:
        if select.select([connection], [], [], 0.05)[0]:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    return True


def _text(file) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
