"""Labels in outputs of ABINIT that exist: ``*_GSR.nc``, the main output beside it, or the folder of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.core.label import LabelKind, LevelOfTheory
from magflow.core.types import FloatArray
from magflow.core.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR3
from magflow.dft.abinit.output import species, variables
from magflow.dft.abinit.texts import moments_in
from magflow.dft.runs import TruncatedOutputError
from magflow.errors import InputError
from magflow.io.findings import Fate, Findings
from magflow.io.records import Record, build_label
from magflow.io.sources import Source, Wish

_GSR, _OUT = "_GSR.nc", "_OUT.nc"
_ARRAYS = (
    *("primitive_vectors", "reduced_atom_positions", "atom_species", "atomic_numbers"),
    *("etotal", "cartesian_forces", "cartesian_stress_tensor"),
)
_SETTINGS = ("ixc", "kinetic_energy_cutoff", "pawecutdg", "occopt", "smearing_width", "monkhorst_pack_folding")
_FUNCTIONALS = {-101130: "PBE", 11: "PBE", -116133: "PBEsol", -1012: "LDA", 7: "LDA"}
"""By ``ixc``."""
_UNCONVERGED = "not enough SCF cycles"


def _recognises(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return bool(next(path.glob(f"*{_GSR}"), None))
    return path.name.endswith(_GSR) or b" of ABINIT" in head[:200]


def _read(path: Path, wish: Wish, findings: Findings) -> Iterator[Record]:
    if path.is_dir():
        files = sorted(path.glob(f"*{_GSR}"))
    else:
        files = [path] if path.name.endswith(_GSR) else sorted(path.parent.glob(f"{path.stem}*{_GSR}"))
    if not files:
        raise InputError(
            "the main output alone has not all digits", where=str(path), expected=f"{path.stem}o{_GSR} beside it"
        )
    for file in files:
        try:
            yield from _record(file, findings)
        except TruncatedOutputError as error:
            raise InputError(str(error), where=str(file), hint="is the run finished, and the copy complete?") from error


SOURCE = Source("an output of ABINIT", _recognises, _read)


def _record(gsr: Path, findings: Findings) -> Iterator[Record]:
    values = variables(gsr, _ARRAYS)
    polarised = _spins(gsr) > 1
    abo = _main_output(gsr)
    if _UNCONVERGED in abo:
        findings.note(Fate.LEFT_OUT, "the electronic steps did not converge", str(gsr))
        return
    elements = species(values["atom_species"], values["atomic_numbers"])
    cell = values["primitive_vectors"] * BOHR
    n = len(elements)
    moments = _moments(abo, n, findings, str(gsr)) if polarised else None
    frame = Frame(elements, cell, values["reduced_atom_positions"] @ cell, moments)
    magnetic = _magnetic_forces(gsr, n) if moments is not None else None
    label = build_label(
        frame,
        energy=float(values["etotal"]) * HARTREE,
        level_of_theory=_level(gsr, polarised, magnetic is not None, moments is None),
        forces=values["cartesian_forces"].reshape(n, 3) * HARTREE_PER_BOHR,
        stress=values["cartesian_stress_tensor"] * HARTREE_PER_BOHR3,
        magmoms=frame.magmoms,
        magnetic_forces=magnetic,
    )
    record = Record(frame, label)
    findings.count_record(record)
    yield record


def _spins(gsr: Path) -> int:
    """The larger of the numbers of spins and of density components."""
    import netCDF4

    with netCDF4.Dataset(gsr) as nc:
        return max(len(nc.dimensions[name]) for name in ("number_of_spins", "number_of_components"))


def _main_output(gsr: Path) -> str:
    """Text of the main output beside `gsr` (``runo_GSR.nc``: ``run.abo``); empty if it is not there."""
    stem = gsr.name.removesuffix(_GSR)
    names = [f"{s}{end}" for s in (stem, stem.removesuffix("o"), stem.removesuffix("_o")) for end in (".abo", ".out")]
    found = next((gsr.with_name(name) for name in names if gsr.with_name(name).is_file()), None)
    return "" if found is None else found.read_text(errors="replace")


def _moments(abo: str, n_atoms: int, findings: Findings, where: str) -> FloatArray | None:
    try:
        return moments_in(abo.splitlines(), n_atoms)
    except TruncatedOutputError as error:
        findings.note(
            Fate.GUESSED, f"the label is spin-polarised, its moments are unknown: {error} (run.abo beside it)", where
        )
        return None


def _magnetic_forces(gsr: Path, n_atoms: int) -> FloatArray | None:
    """(N, 3) eV/muB, -dE/dm, of a constrained run, NaN on atoms that were not held; None of another run."""
    out = gsr.with_name(gsr.name.removesuffix(_GSR) + _OUT)
    try:
        gradient = variables(out, ("grspin",))["grspin"].reshape(n_atoms, 3)
    except (TruncatedOutputError, ValueError):
        return None
    along_z = -gradient * HARTREE * np.array([0.0, 0.0, 1.0])
    return np.where(gradient.any(axis=1, keepdims=True), along_z, np.nan)


def _level(gsr: Path, polarised: bool, constrained: bool, unknown: bool) -> LevelOfTheory:
    import netCDF4

    with netCDF4.Dataset(gsr) as nc:
        settings = {name: np.asarray(nc[name][...]).tolist() for name in _SETTINGS if name in nc.variables}
        version = nc["codvsn"][...].tobytes().decode("ascii", "replace").strip("\0 ")
    kind = LabelKind.CONSTRAINED if constrained else LabelKind.SPIN_POLARISED
    unknown_moments = {"moments": "unknown"} if polarised and unknown else {}
    return LevelOfTheory(
        "abinit",
        version,
        kind if polarised else LabelKind.NON_MAGNETIC,
        _FUNCTIONALS.get(settings.pop("ixc", 0), "unknown"),
        {},
        {"ecut_ha": settings.pop("kinetic_energy_cutoff", None), **settings, **unknown_moments},
    )
