"""Small files of other programs, written out by hand, and what ``magflow convert`` makes of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from magflow.cli.app import app
from magflow.io.extxyz import read_extxyz
from magflow.io.records import Record

CELL = 'Lattice="2.9 0 0 0 2.9 0 0 0 2.9"'
VOLUME = 2.9**3
ATOMS = ("Fe 0 0 0", "Fe 1.45 1.45 1.5")
FORCES = ("0.1 0.2 0.3", "-0.1 -0.2 -0.3")


def xyz(keys: str = "energy=-16.5", columns: str = "", rows: tuple[str, str] = ("", ""), *, cell: str = CELL) -> str:
    """One frame of two iron atoms in extended XYZ."""
    lines = [" ".join([*word.split(), *row.split()]) for word, row in zip(ATOMS, rows, strict=True)]
    return "\n".join(["2", f"{cell} Properties=species:S:1:pos:R:3{columns} {keys}".strip(), *lines, ""])


def cfg(columns: str = "fx fy fz", rows: tuple[str, str] = FORCES, *, more: str = " Energy\n  -16.5\n") -> str:
    """One configuration of two atoms of types 0 and 1 in MLIP's format."""
    head = "BEGIN_CFG\n Size\n  2\n Supercell\n  2.9 0 0\n  0 2.9 0\n  0 0 2.9\n"
    atoms = ("1 0 0 0 0", "2 1 1.45 1.45 1.5")
    body = "\n".join(f"  {a} {row}".rstrip() for a, row in zip(atoms, rows, strict=True))
    return f"{head} AtomData:  id type cartes_x cartes_y cartes_z {columns}\n{body}\n{more}END_CFG\n"


def deepmd(
    folder: Path, *, frames: int = 1, types: str = "0 1", names: str | None = "Fe\nAl\n", form: str = "npy", **arrays
) -> Path:
    """A DeePMD system of two atoms; `arrays` are further files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "type.raw").write_text("\n".join(types.split()) + "\n")
    if names is not None:
        (folder / "type_map.raw").write_text(names)
    n = len(types.split())
    positions = np.linspace(0, 1, 3 * n) + 0.01 * np.arange(frames)[:, None]
    files = {
        "coord": positions,
        "box": np.tile(np.eye(3).ravel() * 2.9, (frames, 1)),
        "energy": -16.5 - np.arange(frames)[:, None],
        **arrays,
    }
    target = folder if form == "raw" else folder / "set.000"
    target.mkdir(exist_ok=True)
    for name, values in files.items():
        if values is None:
            continue
        if form == "raw":
            np.savetxt(target / f"{name}.raw", values)
        else:
            np.save(target / f"{name}.npy", values)
    return folder


@dataclass(frozen=True)
class Outcome:
    """What a command did: its status, all it said, and the frames it wrote."""

    code: int
    told: str
    records: list[Record]

    def says(self, *words: str) -> bool:
        """Whether it names all of `words`."""
        return all(word.lower() in self.told.lower() for word in words)

    @property
    def label(self):
        """The label of the only frame."""
        (record,) = self.records
        return record.label


def convert(source: Path, *options: object, out: str = "out.extxyz") -> Outcome:
    """Run ``magflow convert`` on `source`."""
    target = source.parent / out
    result = CliRunner().invoke(app, ["convert", str(source), "-o", str(target), *map(str, options)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    written = result.exit_code == 0 and target.suffix == ".extxyz"
    told = re.sub(r"\s+", " ", result.output)
    return Outcome(result.exit_code, told, read_extxyz(target) if written else [])


def convert_text(tmp_path: Path, text: str, *options: object, name: str = "in.xyz") -> Outcome:
    """Run ``magflow convert`` on a file that holds `text`."""
    (tmp_path / name).write_text(text)
    return convert(tmp_path / name, *options)
