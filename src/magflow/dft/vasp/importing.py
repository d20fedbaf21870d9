"""Labels in outputs of VASP that exist: OUTCAR, ``vasprun.xml``, or the folder of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import Failure, LabelKind, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, voigt
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.vasp.constraint import Held, read_constraint
from magflow.dft.vasp.deltaspin import read_log
from magflow.dft.vasp.outcar import read_steps, vectors
from magflow.dft.vasp.output import open_vasprun, step_energy
from magflow.dft.vasp.penalty import Target
from magflow.dft.vasp.settings import GGA, Penalty
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.records import Record, build_label, located
from magflow.io.sources import Source, Wish
from magflow.io.text import read_lines

_UNCONVERGED = "the electronic steps did not converge"
_NO_MOMENTS = (
    "the label is spin-polarised and its moments are unknown: OUTCAR beside it has no table for the step (LORBIT)"
)
_SETTINGS = ("ENCUT", "ISMEAR", "METAGGA", "LDAU", "IVDW", "LSORBIT")
_FUNCTIONALS = {tag: name for name, tag in GGA.items()}
_MODES = {mode: Penalty(method="penalty", mode=mode) for mode in (1, 2, 4)}
_LOGS = ("*log*", "*.out", "OSZICAR", "stdout*")


@dataclass(frozen=True)
class _Run:
    """What all steps of a run share. `constraint` is that of a run of one step, or None."""

    path: Path
    level: LevelOfTheory
    polarised: bool
    constraint: Held | None
    findings: Findings


def _recognises(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in ("vasprun.xml", "OUTCAR"))
    return head.lstrip().startswith(b"vasp.") or b"<modeling>" in head


def _read(path: Path, wish: Wish, findings: Findings) -> Iterator[Record]:
    if path.is_dir():
        path = next(p for p in (path / "vasprun.xml", path / "OUTCAR") if p.is_file())
    try:
        first = next(read_lines(path, "an output of VASP"), "")
        yield from (_vasprun if first.startswith("<") else _outcar)(path, findings)
    except TruncatedOutputError as error:
        raise InputError(str(error), where=str(path), hint="is the run finished, and the copy complete?") from error


SOURCE = Source("an output of VASP", _recognises, _read)


def _outcar(path: Path, findings: Findings) -> Iterator[Record]:
    steps = list(read_steps(read_lines(path, "an OUTCAR")))
    if not steps:
        raise TruncatedOutputError("OUTCAR holds no finished step")
    head, settings = steps[0][0], steps[0][0].settings
    polarised = settings.get("ISPIN") == "2" or settings.get("LNONCOLLINEAR") == "T"
    species = head.species
    run = _run(path, head.version, head.titles or head.potcars, settings, polarised, len(species), len(steps), findings)
    for count, (_, step) in enumerate(steps, start=1):
        where = f"{path}: step {count}"
        if not step.converged:
            findings.note(Fate.LEFT_OUT, _UNCONVERGED, where)
            continue
        if step.cell is None or step.positions is None or step.forces is None or step.energy is None:
            raise TruncatedOutputError(f"step {count} lacks its cell, its positions, its forces or its energy")
        moments = vectors(step, settings) if polarised else None
        frame = Frame(species, step.cell, step.positions, moments)
        yield _record(run, frame, step.energy, step.forces, step.stress, where)


def _vasprun(path: Path, findings: Findings) -> Iterator[Record]:
    vasprun = open_vasprun(path)
    steps = vasprun.ionic_steps
    settings = {name: str(value) for name, value in vasprun.parameters.items()}
    settings |= {name: str(value) for name, value in vasprun.incar.items()}
    settings.setdefault("ENCUT", str(vasprun.parameters.get("ENMAX", "unknown")))
    polarised = int(vasprun.parameters.get("ISPIN", 1)) == 2 or bool(vasprun.parameters.get("LNONCOLLINEAR"))
    titles = list(dict.fromkeys(vasprun.potcar_symbols))
    n_atoms = len(vasprun.atomic_symbols)
    run = _run(path, vasprun.vasp_version, titles, settings, polarised, n_atoms, len(steps), findings)
    moments = _moments_beside(path, len(steps)) if polarised else [None] * len(steps)
    for count, (step, of_step) in enumerate(zip(steps, moments, strict=True), start=1):
        where = f"{path}: step {count}"
        if len(step["electronic_steps"]) >= int(vasprun.parameters.get("NELM", 60)):
            findings.note(Fate.LEFT_OUT, _UNCONVERGED, where)
            continue
        if "forces" not in step:
            raise TruncatedOutputError(f"step {count} has no forces")
        structure = step["structure"]
        frame = Frame(tuple(vasprun.atomic_symbols), structure.lattice.matrix, structure.cart_coords, of_step)
        stress = -0.1 / EV_PER_A3_IN_GPA * voigt(step["stress"]) if "stress" in step else None
        yield _record(run, frame, step_energy(vasprun, step), np.array(step["forces"], dtype=float), stress, where)


def _moments_beside(path: Path, count: int) -> Sequence[FloatArray | None]:
    """Moments of every step from the OUTCAR in the same folder, which ``vasprun.xml`` has none of."""
    outcar = next((p for p in (path.with_name("OUTCAR"), path.with_name("OUTCAR.gz")) if p.is_file()), None)
    if outcar is None:
        return [None] * count
    found = [vectors(step, head.settings) for head, step in read_steps(read_lines(outcar, "an OUTCAR"))]
    if len(found) != count:
        raise TruncatedOutputError(f"OUTCAR beside it has {len(found)} steps instead of {count}")
    return found


def _run(
    path: Path,
    version: str,
    titles: Sequence[str],
    settings: Mapping[str, str],
    polarised: bool,
    n_atoms: int,
    steps: int,
    findings: Findings,
) -> _Run:
    mode = int(float(settings.get("I_CONSTRAINED_M", "0") or 0))
    constraint = _constraint(path, mode, n_atoms) if polarised and steps == 1 else None
    if mode and constraint is None:
        raise InputError(
            "the energies contain a penalty (I_CONSTRAINED_M) that cannot be taken off",
            where=str(path),
            seen=f"{steps} steps",
            expected="one step, with OSZICAR and INCAR beside it",
        )
    kind = LabelKind.SPIN_POLARISED if polarised else LabelKind.NON_MAGNETIC
    potcars = {title.split()[1].split("_")[0]: title for title in titles if len(title.split()) > 1}
    level = LevelOfTheory(
        "vasp",
        version.split("-")[0].strip(),
        LabelKind.CONSTRAINED if constraint is not None else kind,
        _FUNCTIONALS.get(settings.get("GGA", "").upper(), "that of the POTCARs"),
        dict(sorted(potcars.items())),
        {name: _plain(settings[name]) for name in _SETTINGS if name in settings},
    )
    return _Run(path, level, polarised, constraint, findings)


def _plain(value: str) -> float | str:
    """A setting as both kinds of output would give it."""
    text = {"True": "T", "False": "F"}.get(value, value.strip("."))
    try:
        return float(text)
    except ValueError:
        return text


def _constraint(path: Path, mode: int, n_atoms: int) -> Held | None:
    """The constraint of a run of one step, from the files beside `path`; None if there is none, or not enough of it."""
    if not mode:
        logs = (log for pattern in _LOGS for log in sorted(path.parent.glob(pattern)))
        return next((held for log in logs if (held := _deltaspin(log, n_atoms)) is not None), None)
    from pymatgen.io.vasp.inputs import Incar

    incar = path.with_name("INCAR")
    tags = Incar.from_file(incar) if incar.is_file() else {}
    imposed = np.array(tags.get("M_CONSTR", []), dtype=float).ravel()
    if mode not in _MODES or imposed.size != 3 * n_atoms:
        return None
    moments = imposed.reshape(n_atoms, 3)
    target = Target(mode, moments, np.any(moments != 0, axis=1))
    found = read_constraint(_MODES[mode], path.parent, path, target)
    return None if isinstance(found, Failure) else found


def _deltaspin(log: Path, n_atoms: int) -> Held | None:
    try:
        state = read_log(log.read_text(errors="replace"), n_atoms)
    except (TruncatedOutputError, OSError):
        return None
    if not state.met:
        return None
    return Held(state.magmoms, state.magnetic_forces, np.zeros(n_atoms), state.rms, 0.0, True, {})


def _record(
    run: _Run, frame: Frame, energy: float, forces: FloatArray, stress: FloatArray | None, where: str
) -> Record:
    held = run.constraint
    magnetic_forces: FloatArray | None = None
    if held is not None:
        frame, energy = frame.replace(magmoms=held.magmoms), energy - held.energy
        free = ~np.any(held.magnetic_forces != 0, axis=1, keepdims=True)
        magnetic_forces = np.where(free, np.nan, held.magnetic_forces)
    unknown = run.polarised and frame.magmoms is None
    level = run.level
    if unknown:
        run.findings.note(Fate.GUESSED, _NO_MOMENTS, where)
        level = replace(level, parameters={**level.parameters, "moments": "unknown"})
    with located(where):
        label = build_label(
            frame,
            energy=energy,
            level_of_theory=level,
            forces=forces,
            stress=stress,
            magmoms=frame.magmoms,
            magnetic_forces=magnetic_forces,
        )
    record = Record(frame, label)
    run.findings.count_record(record)
    return record
