"""``pair_style mmtp`` inside this process: frames of any cell evaluated by LAMMPS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lammps_potential
from magflow.core.frame import Frame
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.lammps import encode

VOIGT = [0, 1, 2, 5, 4, 3]
"""xx yy zz yz xz xy among the xx yy zz xy xz yz of LAMMPS."""
BAR = lammps_potential.BAR
PER_ATOM = ("magnetic_force", "deviation", "grade")


@dataclass(frozen=True)
class Said:
    """What LAMMPS says of one frame, in magflow's units and signs; per atom what `fix pair` was asked for."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray
    energies: np.ndarray
    stresses_of_atoms: np.ndarray
    centroid_stresses: np.ndarray
    per_atom: dict[str, np.ndarray]
    fm: np.ndarray | None


def upright(frame: Frame) -> Frame:
    """The frame turned so that its cell is lower triangular, as LAMMPS wants it."""
    q, r = np.linalg.qr(frame.cell.T)
    turn = q * np.sign(np.diag(r))
    return frame.replace(cell=np.tril(frame.cell @ turn), positions=frame.positions @ turn)


def open_with(plugin: Path, frame: Frame, *, spins: bool = False, boundary: str = "p p p", ghost: str = "yes") -> Any:
    """A LAMMPS that holds the atoms of an upright frame and their moments, without a pair style."""
    lmp = lammps_potential.open_lammps()
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = frame.cell.tolist()
    species = sorted(set(frame.species))
    lines = [
        "units metal",
        f"plugin load {plugin}",
        f"boundary {boundary}",
        f"atom_style {'spin' if spins else 'atomic'}",
    ]
    lines += ["atom_modify map array sort 0 0", "box tilt large"]
    lines += [] if spins else [f"fix moments all property/atom d_moment ghost {ghost}"]
    lines += [f"region box prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}", f"create_box {len(species)} box"]
    lmp.commands_list([*lines, "mass * 30.0"])
    types = [1 + species.index(s) for s in frame.species]
    lmp.create_atoms(len(frame), list(range(1, 1 + len(frame))), types, frame.positions.ravel().tolist())
    moments = frame.magmoms[:, 2] if frame.magmoms is not None else np.zeros(len(frame))
    for k, m in enumerate(moments.tolist(), start=1):
        lmp.command(
            f"set atom {k} spin/atom {abs(m)!r} 0 0 {1 if m >= 0 else -1}" if spins else f"set atom {k} d_moment {m!r}"
        )
    return lmp


def use(
    lmp: Any, ensemble: PotentialEnsemble, folder: Path, order: str, beside: str = "", coefficients: str = ""
) -> None:
    """Give it the pair style, with `order` the species of its types; beside another style, if there is one."""
    path = folder / f"{ensemble.identity}.mmtp"
    path.write_bytes(encode(ensemble))
    if beside:
        lmp.commands_list([f"pair_style hybrid/overlay mmtp {beside}", f"pair_coeff {coefficients}"])
        lmp.command(f"pair_coeff * * mmtp {path} {order}")
    else:
        lmp.commands_list(["pair_style mmtp", f"pair_coeff * * {path} {order}"])
    lmp.command("neighbor 0.7 bin")


def evaluate(lmp: Any, asked: tuple[str, ...] = (), *, spins: bool = False) -> Said:
    """Everything, of the atoms as they are."""
    for name in asked:
        lmp.command(f"fix {name} all pair 1 mmtp {name} 1")
    lmp.commands_list(
        [
            *(["compute fm all property/atom fmz"] if spins else []),
            "compute virial all pressure NULL virial",
            "compute pe all pe/atom",
            "compute stress all stress/atom NULL virial",
            "compute centroid all centroid/stress/atom NULL virial",
            "compute sums all reduce sum c_pe c_stress[*] c_centroid[*]" + " c_fm" * spins,
            "thermo_style custom pe c_virial[*] c_sums[*]",
            "thermo_modify norm no",
            "run 0 post no",
        ]
    )
    n = lmp.get_natoms()
    pressure = np.array([lmp.extract_compute("virial", 0, 1)[k] for k in range(6)])
    return Said(
        lmp.get_thermo("pe"),
        np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3),
        -BAR * pressure[VOIGT],
        np.array(lmp.gather("c_pe", 1, 1)),
        BAR * np.array(lmp.gather("c_stress", 1, 6)).reshape(n, 6)[:, VOIGT],
        BAR * np.array(lmp.gather("c_centroid", 1, 9)).reshape(n, 9),
        {name: np.array(lmp.gather(f"f_{name}", 1, 1)) for name in asked},
        np.array(lmp.gather("c_fm", 1, 1)) if spins else None,
    )
