"""A real Slurm whose nodes are machines with a kernel of their own, and mount the shared directory by NFS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kernel_nodes import KernelNode, KernelNodes, NodesUnavailableError
from one_machine_slurm import OneMachineSlurm, SlurmUnavailableError


class NfsSlurm(OneMachineSlurm):
    """Start with :meth:`start`, stop with :meth:`stop`, as the Slurm of one node.

    Parameters
    ----------
    number
        Of nodes; each claims one processor.
    """

    address = KernelNodes.address
    listening = ""  # names of nodes have no address to listen on
    silence_s = 30

    def __init__(self, number: int = 2) -> None:
        super().__init__(cpus=1)
        self.machines = KernelNodes(number)

    @property
    def shared(self) -> Path:
        """The directory that all see."""
        return self.machines.shared

    @property
    def nodes(self) -> Mapping[str, str]:
        """Names of the nodes and their addresses."""
        return {node.name: node.address for node in self.machines.nodes}

    def machine(self, name: str) -> KernelNode:
        """The node of this name."""
        return next(node for node in self.machines.nodes if node.name == name)

    def start(self) -> None:
        """Boot the nodes, start the daemons, wait for idle nodes.

        Raises
        ------
        SlurmUnavailableError
            As one node; or there are no such nodes here.
        """
        try:
            self.machines.start()
        except NodesUnavailableError as error:
            raise SlurmUnavailableError(str(error)) from error
        super().start()

    def stop(self) -> None:
        """End all jobs, daemons and nodes, remove the directories."""
        super().stop()
        self.machines.stop()

    def start_node(self, node: str | None = None) -> None:
        """Start the daemons of a node that was booted, and wait until it is idle."""
        machine = self.machine(node or next(iter(self.nodes)))
        # sockets are each kernel's own
        for own in (self.munge_folder, self.root / f"spool-{machine.name}", Path("/sys/fs/cgroup")):
            self._on(machine, "mount", "-t", "tmpfs", "tmpfs", str(own))
        # slurmd starts only where systemd could have control groups; it makes no use of any
        self._on(machine, "mkdir", "/sys/fs/cgroup/systemd")
        self._on(machine, "mount", "-t", "cgroup", "-o", "none,name=systemd", "cgroup", "/sys/fs/cgroup/systemd")
        self._on(machine, "munged", "--force", *self.munge_options)
        self._on(machine, "slurmd", "-N", machine.name)
        self.wait_for_node(machine.name)

    def _on(self, machine: KernelNode, *words: str) -> None:
        done = machine.run(*words, env=self.environment)
        if done.returncode:
            raise SlurmUnavailableError(f"{machine.name}: {words[0]}: {done.stderr}")
