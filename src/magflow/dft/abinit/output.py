"""Read what ABINIT leaves behind: netCDF for numbers, ``run.abo`` for the moments, the log for the state.

No public library parses the moments or the constraint gradient of a constrained run. Sources, for ABINIT 9.6.2:

- energy, forces, stress, eigenvalues: ``*_GSR.nc`` (``etotal`` is the free energy; ``cartesian_stress_tensor`` has
  ABINIT's order, which is the house's: xx yy zz yz xz xy).
- dE/dm: ``*_OUT.nc``, ``grspin``, (natom, 3) flattened, **+dE/dm** in Ha/muB; there only with constraints.
- moments: the last table "Integrated electronic and magnetization densities" of ``run.abo``.
- convergence: an unconverged run ends with status 0; its log says ``!ScfConvergenceWarning``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magflow.core.types import FloatArray
from magflow.core.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR3
from magflow.dft.runs import TruncatedOutputError

_TITLE = "Integrated electronic and magnetization densities in atomic spheres:"
_COLUMNS = ("Diff(up-dn)", "mag(z)")
"""The column of the moment in a collinear table, and in that of later versions and non-collinear runs."""
_VARIABLES = (
    *("etotal", "cartesian_forces", "cartesian_stress_tensor", "eigenvalues", "fermi_energy"),
    *("primitive_vectors", "reduced_atom_positions", "atom_species", "atomic_numbers"),
)
_MESSAGE = re.compile(r"^--- !(?:ERROR|BUG)\n.*?^message: \|\n(.*?)^\.\.\.", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r"^ ETOT\s*(\d+)\s+\S+\s+\S+\s+\S+\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Output:
    """One finished run, in house units.

    Parameters
    ----------
    energy
        Free energy, eV.
    forces
        (N, 3) eV/A.
    stress
        (6,) eV/A^3, xx yy zz yz xz xy, positive in tension.
    magmoms
        (N,) muB in the spheres; None if not spin-polarised.
    magnetic_forces
        (N,) eV/muB, -dE/dm; None without constraints.
    converged
        Whether the SCF cycle met its criterion.
    iterations, residual
        SCF steps done; the last potential residual.
    lowest_state
        Lowest eigenvalue, eV from the Fermi level.
    scf_tail
        The last ten lines of the SCF cycle.
    version
        ABINIT's.
    dataset_md5
        Element to md5, as ABINIT saw them.
    species, cell, fractions
        What was computed: (N,) chemical symbols, (3, 3) A, (N, 3) reduced positions.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray
    magmoms: FloatArray | None
    magnetic_forces: FloatArray | None
    converged: bool
    iterations: int
    residual: float
    lowest_state: float
    scf_tail: str
    version: str
    dataset_md5: dict[str, str]
    species: tuple[str, ...]
    cell: FloatArray
    fractions: FloatArray


def read_output(folder: Path, stem: str, n_atoms: int, *, polarised: bool, constrained: bool) -> Output:
    """Read a run that ended with status 0 from ``folder/stem.abo``, ``stem.log`` and its netCDF files.

    Raises
    ------
    TruncatedOutputError
        If anything of it is missing, cut short or not finite.
    """
    log, abo = _text(folder / f"{stem}.log"), _text(folder / f"{stem}.abo")
    summary = log.rpartition("--- !FinalSummary")[2] if "--- !FinalSummary" in log else ""
    if not summary or "Calculation completed" not in abo:
        raise TruncatedOutputError("the output ends before `Calculation completed`")
    gsr = variables(folder / f"{stem}o_GSR.nc", _VARIABLES)
    gradient = None
    if constrained:
        out = variables(folder / f"{stem}o_OUT.nc", ("grspin",))
        gradient = _shaped(out["grspin"], (n_atoms, 3), "grspin")[:, 2]
    steps = _STEP.findall(abo)
    return Output(
        energy=float(_shaped(gsr["etotal"], (), "etotal")) * HARTREE,
        forces=_shaped(gsr["cartesian_forces"], (n_atoms, 3), "forces") * HARTREE_PER_BOHR,
        stress=_shaped(gsr["cartesian_stress_tensor"], (6,), "stress") * HARTREE_PER_BOHR3,
        magmoms=read_moments(abo, n_atoms) if polarised else None,
        magnetic_forces=None if gradient is None else -gradient * HARTREE,
        converged="!ScfConvergenceWarning" not in log,
        iterations=int(steps[-1][0]) if steps else 0,
        residual=float(steps[-1][1]) if steps else float("nan"),
        lowest_state=float(gsr["eigenvalues"].min() - _shaped(gsr["fermi_energy"], (), "fermi_energy")) * HARTREE,
        scf_tail="\n".join([line for line in abo.splitlines() if line.startswith(" ETOT")][-10:]),
        version=_field("version", summary),
        species=species(gsr["atom_species"], gsr["atomic_numbers"]),
        cell=_shaped(gsr["primitive_vectors"], (3, 3), "cell") * BOHR,
        fractions=_shaped(gsr["reduced_atom_positions"], (n_atoms, 3), "positions"),
        dataset_md5=dict(re.findall(r"^\s+([A-Z][a-z]?)\s*: ([0-9a-f]{32})$", summary, re.MULTILINE)),
    )


def read_moments(abo: str, n_atoms: int) -> FloatArray:
    """(N,) moments, muB: last table of sphere integrals in ``run.abo``."""
    table = abo.rpartition(_TITLE)[2].splitlines() if _TITLE in abo else []
    header = next((i for i, line in enumerate(table) if line.split()[:2] == ["Atom", "Radius"]), None)
    if header is None:
        raise TruncatedOutputError("there is no table of moments in the output")
    names = re.split(r"\s{2,}", table[header].strip())
    column = next((names.index(name) for name in _COLUMNS if name in names), None)
    moments: list[float] = []
    for line in table[header + 1 :]:
        words = [word for word in line.split() if not word.isalpha()]  # later versions add the element
        if column is None or len(words) <= column or words[0] != str(len(moments) + 1):
            break
        moments.append(float(words[column]))
    closed = len(table) > header + 1 + len(moments) and table[header + 1 + len(moments)].startswith(" ---")
    if not closed:
        raise TruncatedOutputError("the table of moments is cut short")
    if len(moments) != n_atoms:
        raise TruncatedOutputError(f"the table of moments holds {len(moments)} atoms instead of {n_atoms}")
    return np.array(moments)


def species(kinds: np.ndarray, numbers: np.ndarray) -> tuple[str, ...]:
    """(N,) chemical symbols; `kinds` (N,) count from 1, `numbers` are the atomic numbers of the kinds."""
    from ase.data import chemical_symbols

    try:
        return tuple(chemical_symbols[int(numbers[int(kind) - 1])] for kind in kinds)
    except (IndexError, ValueError) as error:  # ValueError: not a number
        raise TruncatedOutputError("the species are damaged") from error


def error_message(log: str) -> str:
    """ABINIT's own error message on one line; empty if it wrote none."""
    found = _MESSAGE.search(log)
    return " ".join(found.group(1).split()) if found else ""


def scf_steps(abo: str) -> int:
    """SCF steps that were done."""
    steps = _STEP.findall(abo)
    return int(steps[-1][0]) if steps else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        raise TruncatedOutputError(f"there is no {path.name}") from None


def _field(name: str, summary: str) -> str:
    found = re.search(rf"^{name}:\s*(\S+)", summary, re.MULTILINE)
    return found.group(1) if found else ""


def variables(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Variables of a netCDF file as floats.

    Raises
    ------
    TruncatedOutputError
        If the file or one of them is not there.
    """
    import netCDF4

    try:
        with netCDF4.Dataset(path) as nc:
            return {name: np.ma.filled(nc[name][...].astype(float), np.nan) for name in names}
    except (OSError, RuntimeError, IndexError, KeyError) as error:
        raise TruncatedOutputError(f"{path.name} is missing or incomplete: {error}") from error


def _shaped(array: np.ndarray, shape: tuple[int, ...], name: str) -> FloatArray:
    if array.size != int(np.prod(shape)):
        raise TruncatedOutputError(f"{name} has {array.size} numbers instead of {int(np.prod(shape))}")
    if not np.isfinite(array).all():
        raise TruncatedOutputError(f"{name} is not finite")
    return np.asarray(array, dtype=float).reshape(shape)
