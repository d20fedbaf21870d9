"""A real Slurm on this machine for tests: munge, one controller, one node, loopback only, no systemd, no cgroups.

Everything it writes lies in one temporary directory; its ports are free ones, its keys its own, so it disturbs no
Slurm that is here already. ``scripts/install_slurm.sh`` installs what it needs.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
_SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))

_CONFIGURATION = """\
ClusterName=magflowtest
SlurmctldHost={host}({address})
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
{listening}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout={silence_s}
InactiveLimit=0
KillWait=2
OverTimeLimit=0
MinJobAge=300
JobRequeue=0
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=ALL Default=NO MaxTime=INFINITE State=UP
"""


class SlurmUnavailableError(Exception):
    """There is no Slurm to start here, and why."""


class OneMachineSlurm:
    """Start with :meth:`start`, stop with :meth:`stop`; `environment` makes Slurm's commands speak to it.

    Parameters
    ----------
    cpus
        Processors the node claims to have: so many one-processor jobs run at once.
    """

    address = "127.0.0.1"
    """Of the controller."""
    listening = "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"
    """Which interfaces are listened on."""
    silence_s = 60
    """A node is lost to the controller after so many seconds without a word."""

    def __init__(self, cpus: int = 4) -> None:
        self.cpus = cpus
        self.host = socket.gethostname().split(".")[0]
        # short, because a socket's path is limited to 108 characters; open to others, because munge asks for it
        self.root = Path(tempfile.mkdtemp(prefix="mfslurm-"))
        self.root.chmod(0o755)
        self.environment = {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": _SEARCHED}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the daemons and wait for an idle node.

        Raises
        ------
        SlurmUnavailableError
            If a program is missing or the node does not come up.
        """
        missing = [name for name in PROGRAMS if not _program(name)]
        if missing:
            raise SlurmUnavailableError(f"not installed: {', '.join(missing)}; scripts/install_slurm.sh installs them")
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (self.root / name).mkdir()
        self.munge_folder.mkdir(mode=0o755)
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        ports = _free_ports(2)
        text = _CONFIGURATION.format(
            host=self.host,
            address=self.address,
            listening=self.listening,
            user=getpass.getuser(),
            root=self.root,
            ports=ports,
            silence_s=self.silence_s,
            nodes="\n".join(
                f"NodeName={node} NodeAddr={address} CPUs={self.cpus} RealMemory=2000 State=UNKNOWN"
                for node, address in self.nodes.items()
            ),
        )
        (self.root / "slurm.conf").write_text(text)
        try:
            self._munge()
            self._run("slurmctld", "-D", "-i")
            for node in self.nodes:
                self.start_node(node)
        except SlurmUnavailableError:
            self.stop()
            raise

    @property
    def nodes(self) -> dict[str, str]:
        """Names of the nodes and their addresses."""
        return {self.host: self.address}

    def on_node(self, node: str) -> list[str]:
        """What runs the command behind it on a node."""
        return []

    def start_node(self, node: str | None = None) -> None:
        """Start a node's daemon (again) and wait until the node is idle."""
        node = node or self.host
        self._run("slurmd", "-D", "-N", node, key=f"slurmd {node}", before=self.on_node(node))
        self.wait_for_node(node)

    def wait_for_node(self, node: str) -> None:
        """Until jobs can run on it.

        Raises
        ------
        SlurmUnavailableError
            If that takes half a minute, or its daemon has ended.
        """
        daemon = self._daemons.get(f"slurmd {node}")
        deadline = time.monotonic() + 30
        while (state := self.node_state(node)) not in ("idle", "mix", "mixed", "allocated"):
            if (daemon is not None and daemon.poll() is not None) or time.monotonic() > deadline:
                raise SlurmUnavailableError(f"the node is {state or 'unknown'}: {self._log_tail()}")
            if state.startswith("down"):
                self.resume(node)
            time.sleep(0.1)

    def resume(self, node: str) -> None:
        """Let jobs run on a node that was down."""
        self.command("scontrol", "update", f"nodename={node}", "state=resume", check=False)

    def stop(self) -> None:
        """End all jobs and daemons and remove the directory."""
        if "slurmctld" in self._daemons:
            self.command("scancel", f"--user={getpass.getuser()}", "--signal=KILL", "--full", check=False)
        self._kill_steps()
        for process in reversed(self._daemons.values()):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._daemons.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def restart_controller(self, away_s: float) -> None:
        """The controller is killed, and started again after `away_s`; jobs go on meanwhile."""
        killed = self._daemons.pop("slurmctld")
        killed.kill()
        killed.wait()
        time.sleep(away_s)
        self._run("slurmctld", "-D")
        deadline = time.monotonic() + 60
        while not self.node_state():
            if time.monotonic() > deadline:
                raise SlurmUnavailableError(f"the controller does not come back: {self._log_tail()}")
            time.sleep(0.2)

    def lose_node(self) -> None:
        """The node dies: its daemon, its jobs and all they had started are killed at once; the controller notices."""
        self._daemons.pop(f"slurmd {self.host}").kill()
        self._kill_steps()
        self.command("scontrol", "update", f"nodename={self.host}", "state=down", "reason=lost")

    def command(self, *words: str, check: bool = True) -> str:
        """The standard output of one of Slurm's commands."""
        env = {**os.environ, **self.environment}
        done = subprocess.run(words, capture_output=True, text=True, env=env, check=False, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def jobs(self, *states: str) -> list[int]:
        """Numbers of the jobs in these states (PENDING and RUNNING if none are given)."""
        out = self.command("squeue", "--noheader", "--format=%i", f"--states={','.join(states or ('PD', 'R'))}")
        return [int(word) for word in out.split()]

    def job_state(self, job: int) -> str:
        """``RUNNING``, ``TIMEOUT``, ..."""
        found = re.search(r"JobState=(\w+)", self.command("scontrol", "show", "job", str(job), check=False))
        return found.group(1) if found else "GONE"

    def node_state(self, node: str | None = None) -> str:
        """``idle``, ``down``, ..."""
        wanted = ("--partition=main", f"--nodes={node or self.host}")
        out = self.command("sinfo", "--noheader", "--format=%T", *wanted, check=False)
        return out.strip().rstrip("*").lower()

    @property
    def munge_folder(self) -> Path:
        """Of what each munge daemon has of its own."""
        return self.root / "munge"

    @property
    def munge_options(self) -> list[str]:
        """Of each munge daemon."""
        own = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        return [
            f"--key-file={self.root / 'munge.key'}",
            *(f"--{option}={self.munge_folder / name}" for option, name in own.items()),
        ]

    def _munge(self) -> None:
        self._run("munged", "--foreground", "--force", *self.munge_options)
        deadline = time.monotonic() + 10
        while not (self.munge_folder / "socket").exists():
            if self._daemons["munged"].poll() is not None or time.monotonic() > deadline:
                raise SlurmUnavailableError(f"munge does not start: {self._log_tail()}")
            time.sleep(0.05)

    def _run(self, name: str, *options: str, key: str = "", before: list[str] | None = None) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.out").open("ab") as log:
            self._daemons[key or name] = subprocess.Popen(
                [*(before or ()), _program(name), *options],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._daemons[key or name]

    def _kill_steps(self) -> None:
        """Kill all processes of all jobs; first those that would report their end to the controller."""
        in_jobs, reporting = [], {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                environment = process.environ()
                if environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in environment:
                    in_jobs.append(process)
                    parent = process.parent()
                    if parent is not None and parent.name() == "slurmstepd":
                        reporting[parent.pid] = parent
        for process in (*reporting.values(), *in_jobs):
            with suppress(psutil.Error):
                process.kill()

    def _log_tail(self) -> str:
        lines: list[str] = []
        for path in sorted(self.root.glob("*.out")) + sorted(self.root.glob("*.log")):
            with suppress(OSError):
                lines += path.read_text(errors="replace").splitlines()[-3:]
        return " | ".join(lines[-12:])


def _program(name: str) -> str | None:
    return shutil.which(name, path=_SEARCHED)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
