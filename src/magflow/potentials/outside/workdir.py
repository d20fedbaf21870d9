"""The directory of one very training, found again by what the training reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from magflow.core.arrays import digest
from magflow.core.files import install_directory
from magflow.errors import InputError, StoreError
from magflow.potentials.outside.following import locked

PREFIX = "training-"
"""Start of the name of a training's directory."""


@contextmanager
def training_directory(workdir: Path | None, write: Callable[[Path], None]) -> Iterator[Path]:
    """The directory of one training, in `workdir` or a temporary one, held for this process.

    Its name is a hash of all files the training reads: an interrupted fit finds its own checkpoints, another fit
    finds that they are not its own.

    Parameters
    ----------
    write
        Writes everything that the training reads below a directory that does not exist yet.

    Raises
    ------
    InputError
        If `workdir` holds another training.
    StoreError
        If it cannot be written, or another process trains in it.
    """
    with ExitStack() as stack:
        root = workdir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="magflow-fit-")))
        try:
            root.mkdir(parents=True, exist_ok=True)
            prepared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".new-", dir=root))) / "training"
            write(prepared)
            files = sorted(path for path in prepared.rglob("*") if path.is_file())
            key = digest([part for f in files for part in (str(f.relative_to(prepared)).encode(), f.read_bytes())])
            directory = root / f"{PREFIX}{key}"
            if others := sorted(p.name for p in root.glob(f"{PREFIX}*") if p != directory):
                raise InputError(
                    "the directory holds another training",
                    where=str(root),
                    seen=others[0],
                    expected=directory.name,
                    hint="use the labels and settings of that training, or remove it to start afresh",
                )
            if not directory.exists():
                install_directory(prepared, directory)
        except OSError as error:
            raise StoreError(f"the training cannot be written: {error.strerror}", where=str(root)) from error
        stack.enter_context(locked(directory))
        yield directory
