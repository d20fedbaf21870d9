"""An ensemble trained outside of a campaign: members side by side, each kept as soon as it is finished.

The work directory holds ``task.json``, which says what is trained, and a directory per member with what its family
leaves there while it fits and, in the end, ``model.bin`` and ``report.json``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import numpy as np

from magflow.core.arrays import digest
from magflow.core.dataset import Dataset
from magflow.core.files import replace_file
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.label import Cost
from magflow.core.protocols import FitReport, NeedsStart, PotentialFamily
from magflow.core.uncertainty import Uncertainty, require_told
from magflow.errors import InputError, MagflowError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.members import fit_member, member_seed

TASK, MODEL, REPORT = "task.json", "model.bin", "report.json"

MemberProgress = Callable[[int, float, str], None]
"""Called with the member, the fraction of its fit that is done and a short text."""


@dataclass(frozen=True, eq=False)
class EnsembleTask:
    """What is to be trained; the parameters are those of :func:`~magflow.potentials.members.fit_member`.

    Parameters
    ----------
    uncertainty
        What deviations of the ensemble are made of.
    seeds
        Of each member, where an ensemble that is gone on from had one each; empty: `seed` for all.

    Raises
    ------
    InputError
        If deviations are to come from fits that do not know what their labels leave undecided.
    """

    family: PotentialFamily
    dataset: Dataset
    elements: tuple[str, ...]
    members: int
    seed: int
    bagging: bool = True
    validation: float = 0.0
    start: PotentialEnsemble | None = None
    uncertainty: Uncertainty = Uncertainty.ENSEMBLE
    force_constants: tuple[ForceConstantLabel, ...] = ()
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.uncertainty is not Uncertainty.ENSEMBLE:
            require_told(self.uncertainty, self.family, self.members)

    def seed_of(self, member: int) -> int:
        """The seed of the ensemble that one member is of."""
        return self.seeds[member] if self.seeds else self.seed

    @property
    def key(self) -> str:
        """24 hex digits of everything that decides the result."""
        options = [self.family.name, self.family.model_dump_json(), self.elements, self.members, self.seed]
        parts = [repr([*options, self.bagging, self.validation]).encode()]
        for item in self.dataset:
            label = item.label
            arrays = (label.energy, label.forces, label.stress, label.magmoms, label.magnetic_forces)
            parts += [item.label_id.encode(), *(b"" if a is None else np.asarray(a).tobytes() for a in arrays)]
        if self.start is not None:
            parts += [member.to_bytes() for member in self.start.members]
        if self.uncertainty is not Uncertainty.ENSEMBLE:
            parts.append(self.uncertainty.encode())
        if self.seeds:
            parts.append(repr(self.seeds).encode())
        for constants in self.force_constants:
            parts += [constants.label_id.encode(), constants.array.tobytes()]
        return digest(parts)


def cores() -> int:
    """How many processes can run at once here."""
    return len(os.sched_getaffinity(0))


def unfinished(workdir: Path) -> bool:
    """Whether a training has left something in `workdir` that is worth going on with."""
    return (workdir / TASK).is_file() and any(workdir.glob("member_*/**/*"))


def train_ensemble(
    task: EnsembleTask, workdir: Path, *, jobs: int = 1, progress: MemberProgress | None = None
) -> tuple[PotentialEnsemble, list[FitReport]]:
    """Train the members that are not finished yet, up to `jobs` at a time, each in a process of its own.

    A training that was killed goes on where it was; a warm start takes member k from member k of ``task.start``.

    Raises
    ------
    InputError
        If `workdir` holds the training of another task, the start has fewer members or is of another family, or what
        the family raises.
    """
    if task.start is not None:
        _check_start(task, task.start)
    _claim(task, workdir)
    told = progress or (lambda member, fraction, text: None)
    open_members = [k for k in range(task.members) if not (_member(workdir, k) / REPORT).is_file()]
    for k in set(range(task.members)) - set(open_members):
        told(k, 1.0, "finished before")
    if jobs > 1 and len(open_members) > 1:
        _Pool(task, workdir, told).run(open_members, jobs)
    else:
        for k in open_members:
            _train_member(task, workdir, k, told)
    return _collect(task, workdir)


def _check_start(task: EnsembleTask, start: PotentialEnsemble) -> None:
    if start.family_name != task.family.name and not isinstance(task.family, NeedsStart):
        raise InputError("the warm start is of another family", seen=start.family_name, expected=task.family.name)
    if len(start.members) < task.members:
        raise InputError(
            "the warm start has too few members", seen=len(start.members), expected=f"at least {task.members}"
        )


def _claim(task: EnsembleTask, workdir: Path) -> None:
    """Write down what is trained in `workdir`, or check that it is the same."""
    path = workdir / TASK
    if not unfinished(workdir):
        replace_file(path, json.dumps({"key": task.key}).encode())
        return
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("the unfinished training is damaged", where=str(path), hint="remove its directory") from error
    if seen != task.key:
        raise InputError(
            "the unfinished training there is one of other labels or settings",
            where=str(workdir),
            hint="repeat its labels and settings, remove it, or choose another directory",
        )


def _member(workdir: Path, member: int) -> Path:
    return workdir / f"member_{member:02d}"


def _train_member(task: EnsembleTask, workdir: Path, member: int, told: MemberProgress) -> None:
    directory = _member(workdir, member)
    potential, report = fit_member(
        task.family,
        task.dataset,
        elements=task.elements,
        seed=task.seed_of(member),
        member=member,
        bagging=task.bagging,
        validation=task.validation,
        start=None if task.start is None else task.start.members[member],
        progress=lambda fraction, text: told(member, fraction, text),
        workdir=directory / "fit",
        force_constants=task.force_constants,
    )
    replace_file(directory / MODEL, potential.to_bytes())
    replace_file(directory / REPORT, json.dumps(asdict(report)).encode())  # last: it marks the member as finished


def _collect(task: EnsembleTask, workdir: Path) -> tuple[PotentialEnsemble, list[FitReport]]:
    potentials, reports = [], []
    for k in range(task.members):
        directory = _member(workdir, k)
        try:
            potentials.append(task.family.load((directory / MODEL).read_bytes()))
            found = json.loads((directory / REPORT).read_text(encoding="utf-8"))
            reports.append(FitReport(**(found | {"cost": Cost(**found["cost"])})))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                "a finished member cannot be read", where=str(directory), seen=str(error), hint="remove its directory"
            ) from error
    metadata = {
        "settings": task.family.model_dump(mode="json"),
        "seed": task.seed,
        "member_seeds": [member_seed(task.seed_of(k), k) for k in range(task.members)],
        "dataset": task.dataset.fingerprint,
        "n_labels": len(task.dataset),
        "levels_of_theory": [level.as_dict() for level in task.dataset.levels_of_theory],
    }
    if task.seeds:
        metadata["seeds"] = list(task.seeds)
    if task.force_constants:
        metadata["force_constants"] = [constants.label_id for constants in task.force_constants]
    ensemble = PotentialEnsemble(tuple(potentials), task.family.name, metadata=metadata, uncertainty=task.uncertainty)
    return ensemble, reports


class _Pool:
    """Members in processes of their own. A process ends when nobody listens to it any more."""

    def __init__(self, task: EnsembleTask, workdir: Path, told: MemberProgress) -> None:
        self.task, self.workdir, self.told = task, workdir, told
        self.context = get_context("spawn")
        self.running: dict[Connection, tuple[int, BaseProcess]] = {}

    def run(self, members: Sequence[int], jobs: int) -> None:
        waiting = list(members)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < jobs:
                    self._begin(waiting.pop(0))
                ready = wait(list(self.running))
                for connection in [c for c in self.running if c in ready]:
                    self._hear(connection)
        finally:
            for _, process in self.running.values():
                process.kill()
            for connection, (_, process) in self.running.items():
                process.join()
                connection.close()

    def _begin(self, member: int) -> None:
        here, there = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_in_child, args=(self.task, self.workdir, member, there), daemon=True)
        with _no_main():
            process.start()
        there.close()
        self.running[here] = (member, process)

    def _hear(self, connection: Connection) -> None:
        """One message: progress, or the error the member ended with; none is the end of the process."""
        member, process = self.running[connection]
        try:
            said = connection.recv()
        except EOFError:
            process.join()
            del self.running[connection]
            connection.close()
            if process.exitcode:
                raise MagflowError(
                    f"the process of member {member} ended unexpectedly",
                    seen=f"exit code {process.exitcode}",
                    hint="its finished part is kept: go on with it, with fewer jobs if memory ran out",
                ) from None
            return
        if isinstance(said, Exception):
            raise said
        self.told(member, *said)


@contextmanager
def _no_main() -> Iterator[None]:
    """Processes that start meanwhile do not run the user's script again, as those of the method ``spawn`` would."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _in_child(task: EnsembleTask, workdir: Path, member: int, connection: Connection) -> None:
    try:
        _train_member(task, workdir, member, lambda _, fraction, text: connection.send((fraction, text)))
    except MagflowError as error:
        connection.send(error)
    except (BrokenPipeError, KeyboardInterrupt):
        raise SystemExit(130) from None
