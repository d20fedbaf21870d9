"""A wire double of MongoDB: the real pymongo speaks to it over TCP, mongomock-ng answers.

It is NOT MongoDB. It stands for one where none can be installed, so that the real drivers and what is built on them
(maggma, GridFS, FireWorks, jobflow-remote) run unmodified, in many processes, against one database. What it shows:
that the calls we make are calls the drivers send, in an order that a server accepts, and that they outlive an outage.
What it cannot show: speed (mongomock searches whole collections, so keep below ten thousand), durability (everything
is in memory), replica sets, retryable writes, change streams, isolation of transactions (they are accepted and
ignored), authentication (every password is a wrong one), query planning, and each place where mongomock's query
language differs from MongoDB's. The same tests run against a real server named by ``MAGFLOW_TEST_MONGO_URI``.

    python -m doubles.mongo_wire [--host ADDRESS] [--port N] [--certificate PEM]      (in the folder tests)

prints its port, listens on one interface alone, the loopback's if nothing is said, and ends when its standard input
does. One thread runs the commands one after the other, so each is atomic, as operations on one document are in
MongoDB. Outages: SIGUSR1 cuts every connection and refuses new ones, SIGUSR2 ends that;
``client.admin.command("outage", 5.0)`` does both, 5 s apart; with ``afterNextWrite=True`` the outage begins once a
write is applied and before it is acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import ssl
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import bson

from doubles.mongo_commands import Database, Document

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CHECKSUM, MORE_TO_COME = 1, 2  # flag bits of OP_MSG
WRITES = frozenset(("insert", "update", "delete", "findAndModify", "findandmodify"))
HEADER = struct.Struct("<iiii")
TESTS = Path(__file__).parents[1]


def read_message(body: bytes) -> tuple[int, Document]:
    """Flags and command of an OP_MSG, document sequences put where the command names them."""
    (flags,) = struct.unpack_from("<I", body)
    at, end = 4, len(body) - (4 if flags & CHECKSUM else 0)
    command: Document = {}
    sequences: Document = {}
    while at < end:
        kind = body[at]
        (size,) = struct.unpack_from("<i", body, at + 1)
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            command = bson.decode(section)
        else:
            name, documents = section[4:].split(b"\0", 1)
            sequences[name.decode()] = bson.decode_all(documents)
        at += 1 + size
    return flags, command | sequences


def read_query(body: bytes) -> tuple[str, Document]:
    """Database and command of an OP_QUERY, which drivers use for the first handshake."""
    end = body.index(b"\0", 4)
    command = bson.decode(body[end + 9 :])
    return body[4:end].decode().split(".")[0], command.get("$query", command)


class Server:
    """Listens, answers, and can be cut off."""

    def __init__(self, host: str, port: int, certificate: str | None) -> None:
        self.database, self.host, self.port = Database(), host, port
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._listening: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._replies = itertools.count(1)
        self._armed = 0.0
        self._absences: set[asyncio.Task] = set()

    async def open(self) -> None:
        """Accept connections."""
        if self._listening is None:
            self._listening = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
            self.port = self._listening.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop every connection and refuse new ones; the data stay."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for writer in list(self._clients):
            writer.transport.abort()

    def restore(self, seconds: float = 0.0) -> None:
        """Accept connections again, after `seconds`."""
        self._absences.add(asyncio.get_running_loop().create_task(self._return_after(seconds)))

    async def _return_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while True:
                length, request, _, kind = HEADER.unpack(await reader.readexactly(HEADER.size))
                if kind not in (OP_QUERY, OP_MSG):  # or a client that speaks TLS
                    break
                answer = self._answer(kind, await reader.readexactly(length - HEADER.size))
                if answer:
                    head = HEADER.pack(HEADER.size + len(answer), next(self._replies), request, _reply_kind(kind))
                    writer.write(head + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    def _answer(self, kind: int, body: bytes) -> bytes:
        """The body of the reply; empty where the client wants none."""
        if kind == OP_QUERY:
            return struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self.database.run(*read_query(body)))
        flags, command = read_message(body)
        name = command.pop("$db", "admin")
        reply = self._control(command) or self.database.run(name, command)
        if self._armed and next(iter(command)) in WRITES:
            seconds, self._armed = self._armed, 0.0
            self._begin(seconds)
        return b"" if flags & MORE_TO_COME else b"\0\0\0\0\0" + bson.encode(reply)

    def _control(self, command: Document) -> Document | None:
        """Outages on demand."""
        if "outage" not in command:
            return None
        seconds = float(command["outage"])
        if command.get("afterNextWrite"):
            self._armed = seconds
        else:
            asyncio.get_running_loop().call_later(0.01, self._begin, seconds)  # once this reply is sent
        return {"ok": 1.0}

    def _begin(self, seconds: float) -> None:
        self.cut()
        self.restore(seconds)


def _reply_kind(kind: int) -> int:
    return OP_REPLY if kind == OP_QUERY else OP_MSG


async def serve(host: str, port: int, certificate: str | None) -> None:
    """Listen until standard input ends."""
    server = Server(host, port, certificate)
    await server.open()
    print(server.port, flush=True)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, server.cut)
    loop.add_signal_handler(signal.SIGUSR2, server.restore)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)  # clients may still be connected


class WireMongo:
    """Starts the double as a process of its own and steers it: ``with WireMongo() as mongo: MongoClient(mongo.uri)``.

    Parameters
    ----------
    certificate
        PEM file with certificate and key; with it the double speaks TLS alone.
    host
        Address it listens on.
    """

    def __init__(self, certificate: Path | None = None, host: str = "127.0.0.1") -> None:
        command = [sys.executable, "-m", "doubles.mongo_wire", "--host", host]
        if certificate is not None:
            command += ["--certificate", str(certificate)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=TESTS, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.uri = f"mongodb://{host}:{self.port}/"

    def cut(self) -> None:
        """Begin an outage: connections are dropped and refused."""
        self.process.send_signal(signal.SIGUSR1)

    def restore(self) -> None:
        """End the outage; the data are as they were."""
        self.process.send_signal(signal.SIGUSR2)

    def outage(self, seconds: float, *, after_next_write: bool = False) -> None:
        """Be away for `seconds`, at once or when the next write is applied but not yet acknowledged."""
        from pymongo import MongoClient

        with MongoClient(self.uri) as client:
            client.admin.command("outage", seconds, afterNextWrite=after_next_write)

    def stop(self) -> None:
        """End the process; the data are lost."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        self.process.kill()  # it may be busy with a command
        self.process.wait(10)

    def __enter__(self) -> WireMongo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--certificate", help="PEM file with certificate and key: speak TLS")
    options = parser.parse_args()
    asyncio.run(serve(options.host, options.port, options.certificate))


if __name__ == "__main__":
    main()
