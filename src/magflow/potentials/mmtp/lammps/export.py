"""The file that ``pair_style mmtp`` reads: words and numbers, which C++ reads without a library.

Its reader is ``csrc/lammps/model_file.cpp``: what changes here changes there, and the number of the format with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.release import __version__
from magflow.core.versions import Mark
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.leverage import PosteriorDraws
from magflow.potentials.mmtp.potential import MmtpPotential

FORMAT = Mark("potential for LAMMPS", "magflow-lammps")


def encode(ensemble: PotentialEnsemble) -> bytes:
    """What LAMMPS needs of an ensemble: its members, where the deviation of forces comes from, and draws to grade by.

    Numbers are written so that they are read as the same ones.

    Raises
    ------
    InputError
        If a member is no mMTP, or the members differ in cutoff or in reading moments.
    """
    return ("\n".join(_lines(ensemble)) + "\n").encode("ascii")


def _lines(ensemble: PotentialEnsemble) -> Iterator[str]:
    members = _members(ensemble)
    yield str(FORMAT)
    yield f"writer {__version__}"
    yield f"identity {ensemble.identity}"
    yield f"species {len(ensemble.species)} {' '.join(ensemble.species)}"
    yield f"cutoff {members[0].cutoff!r}"
    forces = ensemble.calibration.of("forces")
    yield f"deviation_source {ensemble.uncertainty}"
    yield f"deviation_scale {forces.scale!r}"
    yield f"deviation_floor {float(np.sqrt(3.0)) * forces.floor!r}"  # of the three components together
    yield f"magnetic {members[0].magnetic:d}"
    yield f"members {len(members)}"
    for member in members:
        yield from _member(member)
    yield "end"


def _members(ensemble: PotentialEnsemble) -> list[MmtpPotential]:
    members = [m for m in ensemble.members if isinstance(m, MmtpPotential)]
    if len(members) < len(ensemble.members):
        raise InputError(
            "pair_style mmtp is for potentials of family mmtp",
            seen=f"family {ensemble.family_name}",
            hint="other families come with pair styles of their own",
        )
    if not all(members[0].shares_geometry(m) for m in members):
        raise InputError(
            "the members differ in cutoff or in reading moments", seen=sorted({(m.cutoff, m.magnetic) for m in members})
        )
    return members


def _member(member: MmtpPotential) -> Iterator[str]:
    shape = dict(member.model.shape)
    for name in ("n_mu", "n_phi", "n_psi"):
        yield f"{name} {shape.pop(name)}"
    yield f"r_min {shape.pop('r_min')!r}"
    yield f"extend {shape.pop('extend'):d}"
    yield f"symmetrise {member.model.symmetrise:d}"
    for name, values in shape.items():
        yield _array(name, values)
    yield _array("parameters", member.model.parameters)
    if not isinstance(member.active, PosteriorDraws):
        yield "draws 0"
        return
    draws = member.active
    _, of_force, _, of_moment = draws.factors.tolist()
    yield f"draws {len(draws.steps)}"
    yield f"force_scale {of_force!r}"
    yield f"moment_scale {of_moment!r}"
    yield f"undecided {draws.undecided!r}"
    for step in draws.steps:
        yield _array("draw", step)


def _array(name: str, values: ArrayLike) -> str:
    flat = np.asarray(values).ravel().tolist()
    return " ".join([name, str(len(flat)), *(repr(x) for x in flat)])
