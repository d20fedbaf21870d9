"""Read what VASP leaves behind, with pymatgen: ``vasprun.xml`` for numbers, ``OUTCAR`` for moments and the end.

- energy: ``e_fr_energy``, the free energy TOTEN that forces derive from. (``e_0_energy`` is extrapolated, and VASP
  5.4.4 writes the entropy term under that name.) With a penalty it contains E_p; with PSTRESS that of an ionic step
  contains PV, which is taken off.
- stress: kbar, positive in compression.
- moments: the tables "magnetization (x)", with (y) and (z) in a noncollinear run; of a collinear one the component
  along the axis is called x.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA, voigt
from magflow.dft.process import LAST, tail
from magflow.dft.runs import TruncatedOutputError

_END = "General timing and accounting informations for this job"
_VERSION = re.compile(r"\d+(?:\.\d+){1,2}")
_STARS = re.compile(r"[ \t]*<i [^>]*>\s*\*+\s*</i>\n?")
_ERROR = re.compile(
    r"^[ |*]*((?:VERY BAD NEWS|ERROR|Error|internal error|LAPACK|BRMIX: very serious|ZBRENT).*?)[ |*]*$", re.M
)


@dataclass(frozen=True)
class Output:
    """One finished run, in house units, atoms in VASP's order.

    Parameters
    ----------
    energy
        Free energy, eV; with the energy of a penalty if there was one.
    forces, stress
        (N, 3) eV/A; (6,) eV/A^3, positive in tension.
    magmoms
        (N, 3) muB, projected on the PAW spheres; None if not spin-polarised.
    converged, iterations, residual
        Whether the SCF cycle met its criterion; its steps; the last change of the energy, eV.
    version
        VASP's, numbers only.
    elements, titles
        (N,) elements; TITEL of each POTCAR.
    cell, fractions
        What was computed: (3, 3) A, (N, 3) positions in units of the lattice vectors.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray
    magmoms: FloatArray | None
    converged: bool
    iterations: int
    residual: float
    version: str
    elements: tuple[str, ...]
    titles: tuple[str, ...]
    cell: FloatArray
    fractions: FloatArray


def read_output(folder: Path, n_atoms: int, *, polarised: bool) -> Output:
    """Read a run that ended with status 0.

    Raises
    ------
    TruncatedOutputError
        If anything of it is missing, cut short or not finite.
    """
    if not _ends_well(folder / "OUTCAR"):
        raise TruncatedOutputError("OUTCAR ends before its timing")
    run = open_vasprun(folder / "vasprun.xml")
    last = run.ionic_steps[-1]
    steps = [step["e_fr_energy"] for step in last["electronic_steps"] if "e_fr_energy" in step]
    missing = [name for name in ("e_fr_energy", "forces", "stress") if name not in last]
    if missing or not steps:
        raise TruncatedOutputError(f"vasprun.xml has no {missing[0] if missing else 'SCF steps'}")
    version = _VERSION.match(run.vasp_version)
    return Output(
        energy=step_energy(run, last),
        forces=_shaped(last["forces"], (n_atoms, 3), "forces"),
        stress=-0.1 / EV_PER_A3_IN_GPA * voigt(_shaped(last["stress"], (3, 3), "stress")),
        magmoms=read_moments(folder / "OUTCAR", n_atoms) if polarised else None,
        converged=bool(run.converged_electronic),
        iterations=len(steps),
        residual=float(abs(steps[-1] - steps[-2])) if len(steps) > 1 else float("nan"),
        version=version.group(0) if version else "unknown",
        elements=tuple(run.atomic_symbols),
        titles=tuple(run.potcar_symbols),
        cell=np.array(last["structure"].lattice.matrix),
        fractions=np.array(last["structure"].frac_coords),
    )


def step_energy(run: Any, step: Mapping[str, Any]) -> float:
    """Free energy of an ionic step of `run` (pymatgen's ``Vasprun``), eV, without PV."""
    energy = float(_shaped(step["e_fr_energy"], (), "energy"))
    pressure_kb = float(run.parameters.get("PSTRESS", 0.0) or 0.0)
    return energy - pressure_kb * 0.1 / EV_PER_A3_IN_GPA * float(step["structure"].volume)


def open_vasprun(path: Path) -> Any:
    """Pymatgen's ``Vasprun`` of a run that holds at least one step.

    Raises
    ------
    TruncatedOutputError
        If it is absent or cannot be parsed.
    """
    run = _vasprun(path)
    if not run.ionic_steps:
        raise TruncatedOutputError("vasprun.xml holds no finished step")
    return run


def _vasprun(path: Path) -> Any:
    from lxml.etree import XMLSyntaxError

    try:
        try:
            return _parsed(path)
        except ValueError:  # an unset integer of INCAR is echoed as stars, which says nothing about the results
            with tempfile.NamedTemporaryFile("w", suffix=".xml", encoding="utf-8") as file:
                file.write(_without_stars(path.read_text(encoding="utf-8", errors="replace")))
                file.flush()
                return _parsed(Path(file.name))
    except FileNotFoundError:
        raise TruncatedOutputError("there is no vasprun.xml") from None
    except (XMLSyntaxError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise TruncatedOutputError(f"vasprun.xml is incomplete: {error}") from error


def _parsed(path: Path) -> Any:
    from pymatgen.io.vasp.outputs import Vasprun

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)


def _without_stars(text: str) -> str:
    """`text` without the entries of the echo of the input whose value is stars; the results are left as they are."""
    head, end, results = text.partition("</parameters>")
    return _STARS.sub("", head) + end + results


def read_moments(path: Path, n_atoms: int) -> FloatArray:
    """(N, 3) moments of the last tables in OUTCAR, muB; collinear ones in z."""
    from pymatgen.io.vasp.outputs import Outcar

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table: Sequence[Any] = Outcar(path).magnetization
        totals = [row["tot"] for row in table]
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, OSError) as error:
        raise TruncatedOutputError(f"the moments in OUTCAR are incomplete: {error}") from error
    if len(totals) != n_atoms:
        raise TruncatedOutputError(f"OUTCAR has moments of {len(totals)} atoms instead of {n_atoms}")
    moments = np.zeros((n_atoms, 3))
    for row, total in zip(moments, totals, strict=True):
        vector = getattr(total, "moment", total)
        row[2 if np.ndim(vector) == 0 else slice(None)] = vector
    return _shaped(moments, (n_atoms, 3), "moments")


def error_message(log: str) -> str:
    """VASP's own error message on one line; empty if it wrote none."""
    found = _ERROR.findall(log)
    return " ".join(found[-1].split()) if found else ""


def scf_tail(folder: Path) -> str:
    """The last lines of OSZICAR."""
    lines = tail(folder / "OSZICAR", LAST).splitlines()
    return "\n".join([line for line in lines if ":" in line or "F=" in line][-10:])


def _ends_well(path: Path) -> bool:
    return _END in tail(path, LAST)


def _shaped(values: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    array = np.asarray(values, dtype=float)
    if array.shape != shape:
        raise TruncatedOutputError(f"{name} has the shape {array.shape} instead of {shape}")
    if not np.isfinite(array).all():
        raise TruncatedOutputError(f"{name} is not finite")
    return array
