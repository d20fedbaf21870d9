"""A network of its own on this machine: a bridge with an address, where nodes of tests are plugged in and out.

Nothing leads further: what is plugged in reaches the bridge's address and each other.
"""

from __future__ import annotations

import shutil
import subprocess


def ip(*words: str, check: bool = True) -> None:
    """Run ``ip`` (iproute2)."""
    subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Bridge:
    """The bridge `name`, reached from this machine under `address`, in a network of 24 bits."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address

    def make(self) -> None:
        """Make it.

        Raises
        ------
        OSError, subprocess.CalledProcessError
            If that is impossible here.
        """
        ip("link", "add", self.name, "type", "bridge")
        ip("address", "add", f"{self.address}/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    def plug(self, device: str) -> None:
        """Join a network device."""
        ip("link", "set", device, "master", self.name, "up")

    def remove(self) -> None:
        """Remove it, if it is there."""
        if shutil.which("ip"):
            ip("link", "delete", self.name, check=False)


def cut_off(device: str) -> None:
    """From now on nothing passes this device."""
    ip("link", "set", device, "down")


def join(device: str) -> None:
    """The device passes again what comes."""
    ip("link", "set", device, "up")
