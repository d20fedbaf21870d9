"""The INCAR of one run, as tags.

Everything per site or per species is read off one structure, already in the order of the POSCAR: pymatgen's own sets
re-sort sites and MAGMOM but not M_CONSTR or RWIGS, and would hold the wrong atom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import is_collinear
from magflow.dft.frames import held_atoms
from magflow.dft.vasp.settings import GGA, ISMEAR, DeltaSpin, Penalty, VaspSettings
from magflow.errors import InputError

_COMMON: Mapping[str, Any] = {
    "PREC": "Accurate",
    "ALGO": "Normal",
    "LREAL": False,
    "LASPH": True,
    "GGA_COMPAT": False,  # the gradient correction breaks rotational invariance otherwise
    "ISYM": -1,  # moments that differ from atom to atom break the symmetry VASP would find
    "NSW": 0,  # without steps, VASP's defaults are IBRION = -1 and ISIF = 2: the stress is computed
    "LORBIT": 11,
}

_DELTASPIN: Mapping[str, Any] = {
    "SCTYPE": 1,  # Lagrange multipliers, linear
    "IDECOSC": 0,
    "NSCMIN": 2,
    "INISC": 0.01,
    "SCCUT": 3,
    "NELMSCI": 1,
    "NELMSCT": 0,
    "IALGOSC": 1,
    "IALGOSC_DIAG": 1,
    "LCUTSC_TRIAL": True,
    "LDESC": False,
    "IDECAY_GRAD": 0,
    "SCDECAY": -1,
    "SCCONVB": -1,
}
"""The optimiser of the multipliers, as in the published NiO inputs of DeltaSpin; ``incar_running`` overrides."""


def in_order(species: Sequence[str]) -> list[str]:
    """Elements in the order of their first site; each must stand in one block."""
    elements = list(dict.fromkeys(species))
    if list(species) != sorted(species, key=elements.index):
        raise InputError("the sites of an element do not stand together", seen=" ".join(species))
    return elements


def noncollinear(settings: VaspSettings, frame: Frame) -> bool:
    """Whether vasp_ncl is needed: VASP constrains moments nowhere else."""
    if not settings.polarised:
        return False
    return settings.constrained or (frame.magmoms is not None and not is_collinear(frame.magmoms))


def incar_tags(
    settings: VaspSettings,
    frame: Frame,
    radii: Mapping[str, float],
    strength: float | None,
    *,
    restart: bool,
    keep: bool,
) -> dict[str, Any]:
    """The INCAR of `frame`, its atoms in the order of the POSCAR.

    Parameters
    ----------
    radii
        Element to the radius of its constraint sphere, A; used with constraints only.
    strength
        LAMBDA of this run.
    restart
        Start from the WAVECAR and CHGCAR in the folder.
    keep
        Leave them for the next run.

    Raises
    ------
    InputError
        If the frame has no moments and the kind of label needs them.
    """
    tags: dict[str, Any] = {
        **_COMMON,
        "GGA": GGA[settings.functional],
        "ENCUT": settings.encut_ev,
        "EDIFF": settings.ediff_ev,
        "NELM": settings.nelm,
        "ISMEAR": ISMEAR[settings.smearing],
        "SIGMA": settings.sigma_ev,
        "ISTART": int(restart),
        "ICHARG": 1 if restart else 2,
        "LWAVE": keep,
        "LCHARG": keep,
    }
    tags |= _hubbard(settings, in_order(frame.species))
    tags |= _magnetism(settings, frame, radii, strength)
    return tags | settings.incar | settings.incar_running


def _magnetism(
    settings: VaspSettings, frame: Frame, radii: Mapping[str, float], strength: float | None
) -> dict[str, Any]:
    if not settings.polarised:
        return {"ISPIN": 1}
    if frame.magmoms is None:
        raise InputError(f"a {settings.kind} calculation needs moments and the frame has none", where="magmoms")
    if not noncollinear(settings, frame):
        return {"ISPIN": 2, "MAGMOM": frame.magmoms[:, 2].tolist()}
    tags = {"ISPIN": 2, "LNONCOLLINEAR": True, "LSORBIT": False, "MAGMOM": frame.magmoms.tolist()}
    return tags | (_constraint(settings, frame, radii, strength) if settings.constrained else {})


def _constraint(
    settings: VaspSettings, frame: Frame, radii: Mapping[str, float], strength: float | None
) -> dict[str, Any]:
    """M_CONSTR three numbers a site, RWIGS one a species; zeros leave a site free."""
    assert frame.magmoms is not None
    held = held_atoms(frame)
    tags: dict[str, Any] = {
        "M_CONSTR": np.where(held[:, None], frame.magmoms, 0.0).ravel().tolist(),
        "RWIGS": [radii[e] for e in in_order(frame.species)],
    }
    constraint = settings.constraint
    if isinstance(constraint, Penalty):
        return tags | {"I_CONSTRAINED_M": constraint.mode, "LAMBDA": strength}
    return tags | _deltaspin(constraint, frame, held.tolist())


def _deltaspin(constraint: DeltaSpin, frame: Frame, held: Sequence[bool]) -> dict[str, Any]:
    species_held = {e: any(h for s, h in zip(frame.species, held, strict=True) if s == e) for e in frame.species}
    return {
        **_DELTASPIN,
        "I_CONSTRAINED_M": 2,
        "SCDIFF": constraint.criterion_mub,
        "NSC": constraint.steps,
        "SCCONVB_GRAD": [constraint.gradient_break if species_held[e] else -1.0 for e in in_order(frame.species)],
        "LAMBDA": [0] * (3 * len(frame)),
        "CONSTRL": [int(h) for h in held for _ in range(3)],
    }


def _hubbard(settings: VaspSettings, elements: Sequence[str]) -> dict[str, Any]:
    if not any(e in settings.hubbard for e in elements):
        return {}
    terms = [settings.hubbard.get(e) for e in elements]
    return {
        "LDAU": True,
        "LDAUTYPE": 2,
        "LDAUL": [-1 if t is None else t.l for t in terms],
        "LDAUU": [0.0 if t is None else t.u_ev for t in terms],
        "LDAUJ": [0.0 if t is None else t.j_ev for t in terms],
    }
