"""Machines with a Linux kernel of their own on this one, and a directory that they mount by NFS.

The server is NFS-Ganesha, which serves a directory of this machine by NFS 4.2. Each node is user-mode Linux: Debian's
kernel 6.1 as a process, with its own NFS client, page cache, locks and network card, and the files of this machine as
its root, so that the same Python runs there. The directory has the same path on all of them; here, on the server, it is
a local one. A node that is killed loses what its kernel had not sent yet, as a machine does that loses its power.

``scripts/install_nfs.sh`` installs what it needs; it must be run by root.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

import bridges
import node_agent

PROGRAMS = ("linux.uml", "ganesha.nfsd", "modprobe", "ip", "mount")
_SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_MODULES = Path("/usr/lib/uml/modules")

_AGENT_PORT, _NFS_PORT = 7001, 20490
_BOOT_S = 120.0
LEASE_S = 10
"""The server forgets the locks of a client that has been silent for so many seconds."""

_SERVED = """\
NFS_CORE_PARAM {{
    Protocols = 4; NFS_Port = {port}; Bind_addr = {address};
    Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
}}
NFSv4 {{
    Minor_Versions = 1, 2; Lease_Lifetime = {lease_s}; Grace_Period = {lease_s};
    RecoveryBackend = fs; RecoveryRoot = {folder}/recovery; Only_Numeric_Owners = true; Delegations = false;
}}
EXPORT_DEFAULTS {{ Attr_Expiration_Time = 0; }}
EXPORT {{
    Export_Id = 1; Path = {shared}; Pseudo = /shared; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    Transports = TCP; FSAL {{ Name = VFS; }}
}}
"""

_BOOT = """\
#!/bin/sh
export PATH={path}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
hostname {name}
ip link set lo up
ip address add {address}/24 dev eth0
ip link set eth0 up
modprobe --dirname {folder}/modules nfsv4
mount -i -t nfs4 -o {options} {server}:/shared {shared} || exit 1
{python} -S -E {agent} {port}
"""


class NodesUnavailableError(Exception):
    """There are no such nodes here, and why."""


class NfsServer:
    """Serves the directory `shared` at `address`; what it keeps lies in `folder`."""

    def __init__(self, shared: Path, address: str, folder: Path) -> None:
        self.shared, self.address, self.folder = shared, address, folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again) and wait until it listens.

        Raises
        ------
        NodesUnavailableError
            If it does not.
        """
        (self.folder / "recovery").mkdir(exist_ok=True)
        file = self.folder / "ganesha.conf"
        about = {"port": _NFS_PORT, "address": self.address, "folder": self.folder, "shared": self.shared}
        file.write_text(_SERVED.format(**about, lease_s=LEASE_S))
        paths = ("-f", file, "-L", self.folder / "ganesha.log", "-p", self.folder / "ganesha.pid")
        self._process = subprocess.Popen(
            [_program("ganesha.nfsd"), "-F", *paths, "-N", "NIV_EVENT"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for_port(self.address, _NFS_PORT, self._process, self.folder / "ganesha.log")

    def kill(self) -> None:
        """End it at once, if it runs; clients wait for it until it is started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Command:
    """One that runs on a node."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def result(self, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Wait for its end; TimeoutError if that takes longer."""
        self._connection.settimeout(seconds)
        with self._connection, self._connection.makefile() as answer:
            found = json.loads(answer.read())
        return subprocess.CompletedProcess((), found["code"], found["out"], found["err"])

    def kill(self) -> None:
        """End it, and what it has started."""
        self._connection.close()


class KernelNode:
    """One node.

    Parameters
    ----------
    name
        Its own, and that of its network device on this machine: at most 15 characters.
    address
        In the network of `bridge`.
    server
        Whose directory it mounts.
    """

    def __init__(self, name: str, address: str, bridge: bridges.Bridge, server: NfsServer) -> None:
        self.name, self.address = name, address
        self._bridge, self._server = bridge, server
        self._folder = server.folder / name
        self._process: subprocess.Popen[bytes] | None = None
        self._commands: list[Command] = []  # one whose connection is closed is killed

    def boot(self) -> None:
        """Start it (again) and wait until it can be told what to do.

        Raises
        ------
        NodesUnavailableError
            If it does not come up.
        OSError, subprocess.CalledProcessError
            If it cannot be given a network device.
        """
        self._folder.mkdir(exist_ok=True)
        (self._folder / "modules" / "lib").mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (self._folder / "modules" / "lib" / "modules").symlink_to(_MODULES)
            bridges.ip("tuntap", "add", "mode", "tap", "name", self.name)
            self._bridge.plug(self.name)
        script = self._folder / "boot"
        script.write_text(self._script())
        script.chmod(0o755)
        log = self._folder / "console"
        words = ("quiet", "mem=768M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={script}")
        devices = (f"eth0=tuntap,{self.name}", "con=null", "con0=null,fd:1", f"uml_dir={self._folder}", "umid=uml")
        with log.open("wb") as console:
            self._process = subprocess.Popen(
                [_program("linux.uml"), *words, *devices],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        _wait_for_port(self.address, _AGENT_PORT, self._process, log)

    def _script(self) -> str:
        options = {
            "vers": "4.2",
            "proto": "tcp",
            "port": str(_NFS_PORT),
            "addr": self._server.address,
            "clientaddr": self.address,
        }
        return _BOOT.format(
            path=_SEARCHED,
            name=self.name,
            address=self.address,
            folder=self._folder,
            options=",".join(f"{key}={value}" for key, value in options.items()),
            server=self._server.address,
            shared=shlex.quote(str(self._server.shared)),
            python=shlex.quote(sys.executable),
            agent=shlex.quote(node_agent.__file__),
            port=_AGENT_PORT,
        )

    def start(self, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Command:
        """Run a command, with the environment of this process and `env`."""
        connection = socket.create_connection((self.address, _AGENT_PORT), timeout=30)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        request = {"argv": [str(word) for word in argv], "cwd": str(cwd or self._server.shared), "env": environment}
        connection.sendall(json.dumps(request).encode() + b"\n")
        self._commands.append(Command(connection))
        return self._commands[-1]

    def run(self, *argv: str | Path, seconds: float = 120.0, **where) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `where` as for :meth:`start`."""
        return self.start(*argv, **where).result(seconds)

    def python(self, text: str, *words: object) -> Command:
        """Start a Python program."""
        return self.start(sys.executable, "-c", text, *map(str, words))

    def kill(self) -> None:
        """The machine is no more, with all that was in its memory; nothing is said to anybody."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
            os.killpg(self._process.pid, signal.SIGKILL)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.wait()
        self._process = None

    def remove(self) -> None:
        """Kill it and take its network device away."""
        self.kill()
        if shutil.which("ip"):
            bridges.ip("link", "delete", self.name, check=False)

    def cut_off(self) -> None:
        """It goes on, but hears nobody and is not heard."""
        bridges.cut_off(self.name)

    def join(self) -> None:
        """It is heard again."""
        bridges.join(self.name)


class KernelNodes:
    """Nodes that mount one directory: :meth:`start`, :meth:`stop`.

    Parameters
    ----------
    number
        Of nodes.
    """

    address = "10.213.38.1"
    """Of this machine, the server, for the nodes."""

    def __init__(self, number: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mfnfs-"))
        self.shared = self.folder / "shared"
        self.shared.mkdir()
        mark = f"mfk{os.getpid() % 100_000}"
        self._bridge = bridges.Bridge(mark, self.address)
        self.server = NfsServer(self.shared, self.address, self.folder)
        self.nodes = [
            KernelNode(f"{mark}n{i}", f"10.213.38.{i + 1}", self._bridge, self.server) for i in range(1, number + 1)
        ]

    def start(self) -> None:
        """Make the network, start the server, boot the nodes.

        Raises
        ------
        NodesUnavailableError
            If that is impossible here; nothing is left of it then.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            _require_programs()
            try:
                self._bridge.make()
                self.server.start()
                for node in self.nodes:
                    node.boot()
            except (OSError, subprocess.CalledProcessError) as error:
                raise NodesUnavailableError(f"no network for nodes: {getattr(error, 'stderr', error)}") from error
            undo.pop_all()

    def stop(self) -> None:
        """End all and remove all."""
        for node in self.nodes:
            node.remove()
        self.server.kill()
        self._bridge.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def _require_programs() -> None:
    missing = [name for name in PROGRAMS if not shutil.which(name, path=_SEARCHED)]
    if missing:
        raise NodesUnavailableError(f"not installed: {', '.join(missing)}; scripts/install_nfs.sh installs them")
    if os.geteuid() != 0:
        raise NodesUnavailableError("only root can serve a directory by NFS and make network devices")


def _program(name: str) -> str:
    found = shutil.which(name, path=_SEARCHED)
    assert found is not None, name
    return found


def _wait_for_port(address: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _BOOT_S
    while True:
        with suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
            raise NodesUnavailableError(f"{Path(str(process.args[0])).name} does not start: {' | '.join(said)}")
        time.sleep(0.1)
