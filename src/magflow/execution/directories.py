"""The directory of each job: made before it, gone after success unless something is left in it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from magflow.errors import StoreError, StoreUnusableError

JOBS = "jobs"
"""Directory in that of a campaign that holds those of its jobs."""

SPARE = ".spare-"


def named_directory(root: Path, name: str) -> Path:
    """The directory `name` in `root`; names come from a file that may have been copied, or changed by others.

    Raises
    ------
    StoreError
        If it would be anywhere else.
    """
    directory = root / name
    if directory.resolve().parent != root.resolve():
        raise StoreError(
            "the queue names a directory that is not the campaign's",
            where=str(root.parent),
            seen=name,
            expected=f"the name of a directory in {root}",
            hint="another program has changed the queue: restore it from a backup",
        )
    return directory


class JobDirectories:
    """Makes and removes the directories of one worker's jobs, in `root`.

    An empty directory is not removed but renamed for the next job: removing one can take milliseconds.
    """

    def __init__(self, root: Path, worker: str) -> None:
        self._spare = root / f"{SPARE}{worker}"

    def make(self, directory: Path) -> None:
        """Create `directory`, empty.

        Raises
        ------
        StoreUnusableError
            If that is impossible.
        """
        try:
            try:
                self._spare.rename(directory)
            except OSError:  # there is no spare one, or an interrupted run has left something in the way
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir(parents=True)
        except OSError as error:
            text = "the directory of a job cannot be created"
            raise StoreUnusableError(text, where=str(directory), seen=str(error)) from error

    def leave(self, directory: Path, discard_files: bool) -> bool:
        """After success: give up `directory` if it is empty or its files may go; returns whether it still exists."""
        with suppress(OSError):
            if discard_files or not any(os.scandir(directory)):
                if any(os.scandir(directory)):
                    shutil.rmtree(directory, ignore_errors=True)
                else:
                    directory.rename(self._spare)
        return directory.exists()

    def close(self) -> None:
        """Remove the spare directory."""
        with suppress(OSError):
            self._spare.rmdir()


def remove_spares(root: Path) -> None:
    """Remove the spare directories of workers that were killed."""
    for path in root.glob(f"{SPARE}*"):
        shutil.rmtree(path, ignore_errors=True)
