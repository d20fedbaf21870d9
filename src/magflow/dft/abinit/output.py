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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magflow.core.types import FloatArray
from magflow.core.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR3
from magflow.dft.abinit.texts import read_log, read_main_output, read_moments, wavering
from magflow.dft.electrons import electronic_structure
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.text import lines, require_file

_VARIABLES = (
    *("etotal", "cartesian_forces", "cartesian_stress_tensor", "eigenvalues", "fermi_energy"),
    *("primitive_vectors", "reduced_atom_positions", "atom_species", "atomic_numbers", "kpoint_weights"),
)
_D = 2


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
    energy_noise, force_noise
        How far the energy (eV) and a force (eV/A) went to and fro in the last ten steps.
    lowest_state
        Lowest eigenvalue, eV from the Fermi level.
    electrons
        See :func:`magflow.dft.electrons.electronic_structure`; the d band only where the run projected it.
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
    energy_noise: float
    force_noise: float
    lowest_state: float
    electrons: Mapping[str, float]
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
    log = read_log(lines(folder / f"{stem}.log"))
    abo = read_main_output(lines(folder / f"{stem}.abo"), n_atoms)
    if not log.summary or not abo.completed:
        raise TruncatedOutputError("the output ends before `Calculation completed`")
    gsr = variables(folder / f"{stem}o_GSR.nc", _VARIABLES)
    energy_noise, force_noise = wavering(abo.scf_tail)
    gradient = None
    if constrained:
        out = variables(folder / f"{stem}o_OUT.nc", ("grspin",))
        gradient = _shaped(out["grspin"], (n_atoms, 3), "grspin")[:, 2]
    levels = (gsr["eigenvalues"] - _shaped(gsr["fermi_energy"], (), "fermi_energy")) * HARTREE
    return Output(
        energy=float(_shaped(gsr["etotal"], (), "etotal")) * HARTREE,
        forces=_shaped(gsr["cartesian_forces"], (n_atoms, 3), "forces") * HARTREE_PER_BOHR,
        stress=_shaped(gsr["cartesian_stress_tensor"], (6,), "stress") * HARTREE_PER_BOHR3,
        magmoms=read_moments(abo.table, n_atoms) if polarised else None,
        magnetic_forces=None if gradient is None else -gradient * HARTREE,
        converged=not log.unconverged,
        iterations=abo.steps,
        residual=abo.residual,
        energy_noise=energy_noise * HARTREE,
        force_noise=force_noise * HARTREE_PER_BOHR,
        lowest_state=float(levels.min()),
        electrons=electronic_structure(
            levels, gsr["kpoint_weights"], n_atoms, _d_character(folder / f"{stem}o_FATBANDS.nc", n_atoms)
        ),
        scf_tail=abo.scf_tail,
        version=log.field("version"),
        species=species(gsr["atom_species"], gsr["atomic_numbers"]),
        cell=_shaped(gsr["primitive_vectors"], (3, 3), "cell") * BOHR,
        fractions=_shaped(gsr["reduced_atom_positions"], (n_atoms, 3), "positions"),
        dataset_md5=dict(re.findall(r"^\s+([A-Z][a-z]?)\s*: ([0-9a-f]{32})$", log.summary, re.MULTILINE)),
    )


def _d_character(path: Path, n_atoms: int) -> FloatArray | None:
    """(spins, k-points, bands) share of l = 2 in the spheres of all atoms; None of a run that did not project.

    ABINIT counts fractions by atom, and in an atom by l.
    """
    if not path.is_file():
        return None
    found = variables(path, ("dos_fractions",))["dos_fractions"]
    by_l = found.reshape(n_atoms, -1, *found.shape[1:])
    return np.asarray(by_l[:, _D].sum(axis=0).swapaxes(1, 2))


def species(kinds: np.ndarray, numbers: np.ndarray) -> tuple[str, ...]:
    """(N,) chemical symbols; `kinds` (N,) count from 1, `numbers` are the atomic numbers of the kinds."""
    from ase.data import chemical_symbols

    try:
        return tuple(chemical_symbols[int(numbers[int(kind) - 1])] for kind in kinds)
    except (IndexError, ValueError) as error:  # ValueError: not a number
        raise TruncatedOutputError("the species are damaged") from error


def variables(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Variables of a netCDF file as floats.

    Raises
    ------
    TruncatedOutputError
        If the file or one of them is not there.
    """
    import netCDF4

    require_file(path)
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
