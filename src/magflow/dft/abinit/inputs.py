"""The ABINIT input file of one label, as text.

A writer of its own and no set generator on atomate2's ABINIT static set, as measured by
``benchmarks/label_overhead.py`` on two busy cores: abipy needs 7 to 9 s to import in every worker and 10 to 26 ms
per input, this module (with netCDF4 for the reader) 0.6 to 0.8 s and 0.1 ms; abipy weighs 500 MB besides.
:mod:`magflow.dft.abinit.generator` wraps it for users of pymatgen and atomate2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from magflow.core.frame import Frame
from magflow.core.types import BoolArray, FloatArray
from magflow.core.units import BOHR
from magflow.dft.abinit.datasets import PawDataset, sphere_radii
from magflow.dft.abinit.settings import AbinitSettings
from magflow.dft.frames import held_atoms
from magflow.dft.kpoints import Shared, kpoint_lattice, kpoint_mesh
from magflow.errors import InputError

_CONSTRAINED: Mapping[str, Any] = {"iscf": 7}
"""SCF cycle with constraints: the PAW default 17 is refused; 2, 3 and 4 do not converge."""

_FREE: Mapping[str, Any] = {"iscf": 17, "npulayit": 12, "diemix": 0.35, "wfoptalg": 14}
"""SCF cycle without constraints.

17 takes half the steps of 7 and finds the same energy to 1e-8 eV. Non-magnetic iron, 8 displaced atoms, tolvrs 1e-6:
19 steps with these, 25 with the default history of 7 densities.
"""

_FREE_MOMENTS: Mapping[str, Any] = {**_FREE, "diemixmag": 1.0}
"""The same with moments that are free: their density takes whole steps, as it settles last.

Spin-polarised iron, three such cells: 36, 37 and some 50 steps; 38, 44 and 148 with the steps of the charge.
"""


@dataclass(frozen=True)
class AtomTypes:
    """ABINIT's atom types. Constraints belong to types, so one element may need two of them.

    Parameters
    ----------
    elements
        (ntypat,) element of each type, in order of first appearance.
    held
        (ntypat,) whether the atoms of the type are held at their moment.
    typat
        (N,) type of each atom, counted from 1.
    """

    elements: tuple[str, ...]
    held: tuple[bool, ...]
    typat: tuple[int, ...]


def atom_types(species: Sequence[str], held: Sequence[bool] | BoolArray) -> AtomTypes:
    """Types by (element, held), in order of first appearance."""
    keys = [(element, bool(flag)) for element, flag in zip(species, held, strict=True)]
    order = list(dict.fromkeys(keys))
    return AtomTypes(
        tuple(element for element, _ in order),
        tuple(flag for _, flag in order),
        tuple(order.index(key) + 1 for key in keys),
    )


def band_count(species: Sequence[str], valence: Mapping[str, float], bands_per_electron: float) -> int:
    """Bands per spin: a function of the composition alone, so that every label of a campaign has the same.

    `bands_per_electron` times the valence electrons, made even, and at least four above half filling.
    The default of 1.0 leaves half of the bands empty: 12 for FeAl, 16 for Fe2.
    """
    electrons = sum(valence[element] for element in species)
    return max(2 * ceil(bands_per_electron * electrons / 2), ceil(electrons / 2) + 4)


@dataclass(frozen=True)
class InputText:
    """What goes into an input file beside the frame. Lengths in bohr, energies in hartree."""

    datasets: Mapping[str, str]
    """Element to the file name of its dataset, as seen from the run directory."""
    ratsph_bohr: Mapping[str, float]
    """Element to sphere radius; empty: not spin-polarised (nsppol 1)."""
    ratsm_bohr: float
    held: tuple[bool, ...]
    """(N,) which atoms are held at their moment."""
    kpoints: str
    """The variable that says which, and its value."""
    nband: int
    variables: Mapping[str, object]
    """Every other ABINIT variable."""

    def render(self, frame: Frame) -> str:
        """The input file."""
        types = atom_types(frame.species, self.held)
        lines = [
            f'pseudos "{", ".join(self.datasets[e] for e in types.elements)}"',
            f"natom {len(frame)}",
            f"ntypat {len(types.elements)}",
            f"typat {_row(types.typat)}",
            f"znucl {_row(atomic_numbers[e] for e in types.elements)}",
            "acell 3*1.0",
            f"rprim\n{_table(frame.cell / BOHR)}",
            f"xcart\n{_table(frame.positions / BOHR)}",
        ]
        lines += self._magnetism(frame, types) if self.ratsph_bohr else ["nsppol 1"]
        lines += [self.kpoints, f"nband {self.nband}"]
        lines += [f"{name} {_value(value)}" for name, value in self.variables.items()]
        return "\n".join(lines) + "\n"

    def _magnetism(self, frame: Frame, types: AtomTypes) -> list[str]:
        """Moments per atom, everything else per type."""
        if frame.magmoms is None:
            raise InputError("a spin-polarised calculation needs moments and the frame has none", where="magmoms")
        lines = [
            "nsppol 2",
            f"spinat\n{_table(frame.magmoms)}",
            f"ratsph {_row(self.ratsph_bohr[e] for e in types.elements)}",
            f"ratsm {_value(self.ratsm_bohr)}",
        ]
        if any(types.held):
            lines.append(f"constraint_kind {_row(int(h) for h in types.held)}")
        return lines


_PROJECTED = {"prtdos": 3, "pawprtdos": 2}
"""The shares of l in every state, of the PAW spheres alone: no more CPU time (copper, 4 atoms: 18.4 and 19.0 s)."""


def _cycle(settings: AbinitSettings, held: BoolArray) -> Mapping[str, Any]:
    """How the SCF cycle goes."""
    if held.any():
        return _CONSTRAINED
    return _FREE if settings.kind == "non-magnetic" else _FREE_MOMENTS


def held_in(frame: Frame, settings: AbinitSettings) -> BoolArray:
    """(N,) which atoms are held at their moment."""
    return held_atoms(frame) if settings.constrained else np.zeros(len(frame), bool)


def input_text(
    settings: AbinitSettings, frame: Frame, datasets: Mapping[str, PawDataset], changes: Mapping[str, Any]
) -> str:
    """The ABINIT input of `frame`; `changes` replace or add variables."""
    held = held_in(frame, settings)
    variables: dict[str, Any] = {
        "ecut": settings.ecut_ha,
        "pawecutdg": settings.pawecutdg_ha,
        "ecutsm": settings.ecutsm_ha,
        "pawovlp": 100.0 * settings.overlap_limit,
        "shiftk": settings.shift,
        "occopt": 3,
        "tsmear": settings.tsmear_ha,
        "nsym": 1,  # with symmetry on, equivalent atoms off the FFT grid never converge (rc 0, wrong dE/dm)
        "chkprim": 0,
        "chksymtnons": 0,  # the default refuses general positions
        **_cycle(settings, held),
        "use_gemm_nonlop": 1,  # the same numbers; with OpenBLAS 9 % (constrained) to 16 % less CPU time
        "tolvrs": settings.tolvrs,
        "optforces": 1,
        "optstress": 1,
        "prtwf": 0,
        "prteig": 0,
        "prtebands": 0,
        **(_PROJECTED if settings.d_band else {}),
    }
    valence = {e: d.valence for e, d in datasets.items()}
    return InputText(
        datasets={e: f"{e}.xml" for e in datasets},
        ratsph_bohr=sphere_radii(settings, datasets),
        ratsm_bohr=settings.ratsm_bohr,
        held=tuple(bool(h) for h in held),
        kpoints=_kpoints(settings, frame.cell),
        nband=band_count(frame.species, valence, settings.bands_per_electron),
        variables=variables | dict(changes),
    ).render(frame)


def _kpoints(settings: AbinitSettings, cell: FloatArray) -> str:
    if isinstance(settings.kpoints, Shared):
        return f"kptrlatt {_row(kpoint_lattice(cell, settings.kpoints).ravel())}"
    return f"ngkpt {_row(kpoint_mesh(cell, settings.kpoints))}"


def _value(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return _row(value)
    return format(value, ".12g") if isinstance(value, float) else str(value)


def _row(values: Iterable[object]) -> str:
    """Words, at most 20 in a line: ABINIT drops what stands beyond column 264."""
    words = [_value(v) for v in values]
    return "\n  ".join(" ".join(words[i : i + 20]) for i in range(0, len(words), 20))


def _table(rows: FloatArray) -> str:
    return "\n".join("  " + " ".join(f"{x:.14f}" for x in row) for row in rows)
