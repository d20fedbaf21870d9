"""A real Slurm with several nodes on this machine, each in a network namespace of its own, that can be cut off.

A bridge joins the nodes with the controller, which stays where the tests are. Nothing leads further: the addresses are
known inside these namespaces only. A node that is cut off goes on computing; it hears nobody and nobody hears it.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import bridges
from one_machine_slurm import OneMachineSlurm, SlurmUnavailableError


class SeveralNodes(OneMachineSlurm):
    """Start with :meth:`start`, stop with :meth:`stop`, as the Slurm of one node.

    Parameters
    ----------
    number
        Of nodes.
    cpus
        Processors each claims to have.
    """

    address = "10.213.37.1"
    listening = ""  # names of nodes have no address to listen on
    silence_s = 15

    def __init__(self, number: int = 2, cpus: int = 1) -> None:
        super().__init__(cpus)
        self._mark = f"mf{os.getpid() % 100_000}"
        self._names = [f"{self._mark}n{i}" for i in range(1, number + 1)]
        self._bridge = bridges.Bridge(self._mark, self.address)

    @property
    def nodes(self) -> dict[str, str]:
        """Names of the nodes and their addresses."""
        return {name: f"10.213.37.{i + 2}" for i, name in enumerate(self._names)}

    def on_node(self, node: str) -> list[str]:
        """What runs the command behind it on a node, under the node's name."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {node}; exec "$@"', "sh"]
        return ["nsenter", f"--net=/run/netns/{node}", *named]

    def start(self) -> None:
        """Make the network, start the daemons, wait for idle nodes.

        Raises
        ------
        SlurmUnavailableError
            As one node; or no network can be made here.
        """
        try:
            self._network()
        except (OSError, subprocess.CalledProcessError) as error:
            self.stop()
            raise SlurmUnavailableError(f"no network namespaces: {getattr(error, 'stderr', error)}") from error
        super().start()

    def stop(self) -> None:
        """End all jobs and daemons, remove directory and network."""
        super().stop()
        if shutil.which("ip"):
            for node in self._names:
                bridges.ip("netns", "delete", node, check=False)
        self._bridge.remove()

    def cut_off(self, node: str) -> None:
        """From now on nothing that `node` sends arrives, nor anything sent to it."""
        bridges.cut_off(f"{node}h")

    def join(self, node: str) -> None:
        """The node is heard again."""
        bridges.join(f"{node}h")

    def _network(self) -> None:
        self._bridge.make()
        for node, address in self.nodes.items():
            inside = ("-n", node)
            bridges.ip("netns", "add", node)
            bridges.ip("link", "add", f"{node}h", "type", "veth", "peer", "name", "eth0", "netns", node)
            self._bridge.plug(f"{node}h")
            bridges.ip(*inside, "address", "add", f"{address}/24", "dev", "eth0")
            bridges.ip(*inside, "link", "set", "eth0", "up")
            bridges.ip(*inside, "link", "set", "lo", "up")
