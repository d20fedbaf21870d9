"""Print docs/formats.md: python scripts/formats_page.py > docs/formats.md.

Nothing in its table is stated: every cell is what came out when a label was written and read, or a small file of
another program was read.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase.io import write as ase_write

from magflow.core.frame import Frame
from magflow.core.label import Cost, Label, LabelKind, LevelOfTheory
from magflow.errors import InputError
from magflow.io.ase_atoms import to_atoms
from magflow.io.export import FORMATS, Target, losses, write_records
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.quantities import UNITS, Quantity, spellings
from magflow.io.records import Record
from magflow.io.sources import Wish
from magflow.io.structure import to_structure

LEVEL = LevelOfTheory("vasp", "6.4.2", LabelKind.CONSTRAINED, "PBE", {"Fe": "Fe_pv"}, {"encut_ev": 520.0})
ELEMENTS = ("Al", "Fe")


def label(*, vectors: bool) -> Record:
    """A label with everything; moments reached are not quite the targets."""
    targets = np.array([[0.3 * vectors, 0, 2.2], [0, 0, -0.1]])
    frame = Frame(("Fe", "Al"), np.eye(3) * 2.9, np.array([[0, 0, 0], [1.4, 1.5, 1.45]]), targets, [True, False])
    forces = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    field = np.array([[0.01 * vectors, 0, 0.05], [np.nan] * 3])
    made = Label(
        frame.frame_id,
        LEVEL,
        frame.orientation,
        energy=-12.5,
        forces=forces,
        stress=np.arange(1, 7) * 1e-3,
        magmoms=targets * 0.99,
        magnetic_forces=field,
        cost=Cost(10.0, 12.0, 2),
    )
    return Record(frame, made, {"config_type": "bulk"}, {"site": np.array([1, 2])})


def read(path: Path, form: str) -> Record:
    """The one record of a file."""
    wish = Wish(elements=ELEMENTS, en_der_sign=1) if form == "mlip-cfg" else Wish()
    (record,) = gather([path], wish, Findings())
    return record


def came_back(old: Record, new: Record) -> dict[str, bool]:
    """Which quantities are as they were."""

    def same(name: str) -> bool:
        a, b = getattr(old.label, name), getattr(new.label, name)
        return b is not None and bool(np.allclose(np.nan_to_num(a), np.nan_to_num(b), atol=1e-12))

    return {
        "energy": new.label is not None and new.label.energy == -12.5,
        "forces": same("forces"),
        "stress": same("stress"),
        "moments": same("magmoms"),
        "magnetic forces": same("magnetic_forces"),
        "target moments": new.frame.magmoms is not None and np.allclose(new.frame.magmoms, old.frame.magmoms),
        "which atoms were held": new.frame.constrained is not None,
        "level of theory": new.label is not None and new.label.level_of_theory == LEVEL,
        "cost and details": new.label is not None and new.label.cost == old.label.cost,
        "keys of the frame": new.info.get("config_type") == "bulk",
        "columns of the atoms": "site" in new.columns,
    }


ROWS = (
    *("energy", "forces", "stress", "moments along z", "vector moments", "magnetic forces", "target moments"),
    *("which atoms were held", "level of theory", "cost and details", "keys of the frame", "columns of the atoms"),
)


def columns(write: Callable[[Path, Record], Path], form: str) -> dict[str, bool | None]:
    """What comes back, row by row, of a collinear label and of one with vectors; None: the file is refused."""
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for vectors in (False, True):
            old = label(vectors=vectors)
            place = Path(folder) / str(vectors)
            place.mkdir()
            try:
                results.append(came_back(old, read(write(place, old), form)))
            except InputError:
                results.append({"moments": None})
    plain, vector = results
    return {**plain, "moments along z": plain.pop("moments"), "vector moments": vector["moments"]}


def by_us(form: str) -> Callable[[Path, Record], Path]:
    """Writes by our own writer."""
    name = {"extxyz": "a.extxyz", "mlip-cfg": "a.cfg", "deepmd": "npy"}[form]

    def write(folder: Path, record: Record) -> Path:
        write_records(Target(folder / name, form, None if form == "extxyz" else ELEMENTS), [record])
        return folder / name

    return write


def by_ase(ending: str) -> Callable[[Path, Record], Path]:
    """Writes by ASE."""

    def write(folder: Path, record: Record) -> Path:
        ase_write(folder / f"a.{ending}", to_atoms(record))
        return folder / f"a.{ending}"

    return write


def by_pymatgen(folder: Path, record: Record) -> Path:
    """Writes what computed entries and data sets of pymatgen hold."""
    import json

    made = record.label
    structure = to_structure(record.configuration)
    content = {"structure": structure.as_dict(), "energy": made.energy, "forces": made.forces.tolist()}
    content |= {"config_type": "bulk", "site": [1, 2]}
    (folder / "a.json").write_text(json.dumps([content]))
    return folder / "a.json"


def table() -> list[str]:
    """The table of formats and quantities."""
    written = {form: columns(by_us(form), form) for form in FORMATS}
    others = {
        "ASE .traj": columns(by_ase("traj"), "ase"),
        "ASE .db": columns(by_ase("db"), "ase"),
        "pymatgen JSON": columns(by_pymatgen, "pymatgen"),
    }
    named = {form: " ".join(losses([label(vectors=True)], form).lines()) for form in FORMATS}
    heads = [*written, *others]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for row in ROWS:
        cells = ["read, written" if got[row] else lost(row, named[form]) for form, got in written.items()]
        cells += [{True: "read", None: "refused"}.get(got[row], "–") for got in others.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def lost(row: str, named: str) -> str:
    """How a row that did not come back was told of; an error where it was not."""
    words = {
        "target moments": "target moments",
        "which atoms were held": "which atoms were constrained",
        "cost and details": "cost",
        "keys of the frame": "config_type",
        "columns of the atoms": "site",
    }
    if words.get(row, "?") not in named:
        raise SystemExit(f"{row} is lost and nobody says so")
    return "named as left out"


def names() -> list[str]:
    """The list of names and units."""
    lines = []
    for quantity in Quantity:
        plain = [name for name in spellings(quantity, 1.0) if name != quantity]
        turned = spellings(quantity, -1.0)
        parts = (
            ("also read as ", plain),
            ("of the opposite sign: ", turned),
            ("units for `--keys`: ", UNITS[quantity]),
        )
        told = "; ".join(said + " ".join(f"`{name}`" for name in found) for said, found in parts if found)
        lines += textwrap.wrap(f"- `{quantity}`: {told}", 117, subsequent_indent="  ", break_on_hyphens=False)
    return lines


def main() -> None:
    """Print the page."""
    template = (Path(__file__).parent / "formats_page.md").read_text(encoding="utf-8")
    page = template.replace("@TABLE@", "\n".join(table())).replace("@NAMES@", "\n".join(names()))
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
