"""A disk whose power can be cut: ext4 in a file, on a loop device."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from magflow.stores import connection
from magflow.stores.layout import DATABASE

_SIZE = 48 * 2**20


class Disk:
    """A mounted disk. What has not been written through to the file behind it is lost when the power is cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._image = folder / "image"
        self._cuts = 0
        self.root = folder / "disk"

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """The root of the disk, new and empty; the test is skipped, visibly, without the right to mount."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(_SIZE)
        with _skipped_without("mkfs.ext4", "-q", str(self._image)), _mounted(self._image, self.root):
            yield self.root

    @contextmanager
    def after_a_cut(self) -> Iterator[Path]:
        """The root of a disk as this one would be found if the power went now."""
        self._cuts += 1
        image, root = self.folder / f"image{self._cuts}", self.folder / f"cut{self._cuts}"
        shutil.copyfile(self._image, image)
        try:
            with _mounted(image, root):
                yield root
        finally:
            image.unlink()


@contextmanager
def held_still(process: subprocess.Popen) -> Iterator[None]:
    """A process and all it has started stand still: what they have acknowledged is known, and stays so."""
    stopped = []
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(process.pid)
        for one in (main, *main.children(recursive=True)):
            with suppress(psutil.Error):
                one.send_signal(signal.SIGSTOP)
                stopped.append(one)
    try:
        yield
    finally:
        for one in stopped:
            with suppress(psutil.Error):
                one.send_signal(signal.SIGCONT)


@contextmanager
def _skipped_without(*command: str) -> Iterator[None]:
    tools = ("losetup", "mount", command[0])
    if os.geteuid() != 0 or not all(map(shutil.which, tools)):
        pytest.skip(f"needs root and {', '.join(tools)}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk can be made: {done.stderr.strip()}")
    yield


@contextmanager
def _mounted(image: Path, root: Path) -> Iterator[Path]:
    root.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(image), str(root)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount a disk: {done.stderr.strip()}")
    with ExitStack() as stack:
        stack.callback(root.rmdir)
        stack.callback(subprocess.run, ["umount", "-l", str(root)], check=True)
        yield root
        for database in root.rglob(DATABASE):
            connection.disconnect(database)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody can write below `folder`, root neither."""
    if os.geteuid() != 0:
        modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        try:
            yield
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    done = subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    try:
        yield
        for database in folder.rglob(DATABASE):
            connection.disconnect(database)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
