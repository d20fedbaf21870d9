"""What a foundation model learns of phonons from some crystals about others: CHGNet, tuned on DFT's frequencies.

    python benchmarks/foundation_phonons.py DIR [--data kappa103] [--split 0] [--turns 80] [--learnt 26] [--seed 1]

`--data` holds `dft.json.gz` and `structures.extxyz` of k_SRME: frequencies of phononDB on meshes of waves. Half of the
crystals, by compound, are learnt from. These records have no force constants: in 16 atoms those are made that have
DFT's frequencies at the waves which the 16 atoms hold, and the mode shapes of CHGNet as it was published (sets of
degenerate modes go with the set of as many of DFT, in order). Labels to keep from forgetting are a replay: what CHGNet
as published says of shaken, strained cells of four atoms of the crystals learnt from. Held against DFT are the others,
at rest on each potential, in the supercells of the third-order calculations (64 or 72 atoms), with displacements of
0.03 A. DIR keeps all; the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.io import read, write
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import DynmatToForceConstants
from phonopy.structure.atoms import PhonopyAtoms

from magflow.api.phonon_records import benchmark_phonons, read_phonon_records
from magflow.core.calibration import Calibration
from magflow.core.force_constants import ForceConstantLabel
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.phonon_record import PhononRecord, Spectrum
from magflow.core.types import FloatArray
from magflow.potentials.chgnet import ChgnetFamily, ChgnetPotential
from magflow.potentials.ensemble import PotentialEnsemble

DISPLACEMENT = 0.03
"""A."""
DFT = LevelOfTheory("vasp", "frequencies of phononDB, mode shapes of CHGNet", LabelKind.NON_MAGNETIC, "PBE")
REPLAY = LevelOfTheory("magflow", "CHGNet as published", LabelKind.NON_MAGNETIC, "none")
WRONG_SYMMETRY = 0.05
"""THz; a crystal whose force constants lose more of a frequency to its symmetry is left out."""


def split(records: Sequence[PhononRecord], learnt: int, seed: int) -> tuple[list[PhononRecord], list[PhononRecord]]:
    """Records to learn from and to test on: all crystals of a compound are on one side."""
    compounds = sorted({record.name.split()[0] for record in records})
    first, second = list[PhononRecord](), list[PhononRecord]()
    for k in np.random.default_rng(seed).permutation(len(compounds)):
        mine = [record for record in records if record.name.split()[0] == compounds[k]]
        (first if len(first) + len(mine) <= learnt else second).extend(mine)
    return first, second


def unfolded(spectrum: Spectrum, operations: Sequence[np.ndarray]) -> FloatArray:
    """(a, b, c, bands) THz^2, w|w| on the whole mesh."""
    mesh = np.array(spectrum.mesh)
    full = np.full((*mesh, spectrum.frequencies.shape[1]), np.nan)
    squares = np.sort(np.sign(spectrum.frequencies) * spectrum.frequencies**2, axis=1)
    for rotation in operations:
        for turned in (np.linalg.inv(rotation), -np.linalg.inv(rotation)):
            i, j, k = np.rint(spectrum.qpoints @ turned * mesh).astype(int).T % mesh[:, None]
            full[i, j, k] = squares
    assert np.isfinite(full).all()
    return full


def between(full: FloatArray, q: FloatArray) -> FloatArray:
    """(bands,) THz^2 at any wave, linear between those of the mesh."""
    mesh = np.array(full.shape[:3])
    low = np.floor(q * mesh + 1e-9).astype(int)
    share = q * mesh - low
    corners = [(np.prod(np.where(c, share, 1.0 - share)), tuple((low + c) % mesh)) for c in np.ndindex(2, 2, 2)]
    return np.asarray(sum(weight * full[at] for weight, at in corners))


def sets(frequencies: FloatArray, apart: float) -> list[list[int]]:
    """Runs of modes, in order, whose frequencies lie closer than `apart`."""
    found = [[0]]
    for k in range(1, len(frequencies)):
        if frequencies[k] - frequencies[k - 1] < apart:
            found[-1].append(k)
        else:
            found.append([k])
    return found


def lent(mine: FloatArray, dft: FloatArray) -> FloatArray:
    """DFT's w|w| for each of my modes, both in order: set by set of as many modes, or all in order."""
    own, other = (np.sign(w) * np.sqrt(np.abs(w)) for w in (mine, dft))
    a, b = sets(own, 0.005 * own.max()), sets(other, 0.01 * other.max())
    if sorted(map(len, a)) != sorted(map(len, b)):
        b = a
    found = np.empty_like(mine)
    for size in set(map(len, a)):
        for one, two in zip(*([s for s in of if len(s) == size] for of in (a, b)), strict=True):
            found[one] = dft[two].mean()
    return found


def crystal(record: PhononRecord) -> tuple[Phonopy, Phonopy]:
    """Phonopy of the record's cell, and of 16 atoms that repeat its primitive one."""
    frame = record.crystal
    cell = PhonopyAtoms(symbols=list(frame.species), cell=frame.cell, positions=frame.positions)
    whole = Phonopy(cell, supercell_matrix=np.eye(3), primitive_matrix=record.primitive, log_level=0)
    size = (2, 2, 2) if len(whole.primitive) == 2 else (2, 2, 1)
    small = PhonopyAtoms(
        symbols=whole.primitive.symbols, cell=whole.primitive.cell, positions=whole.primitive.positions
    )
    return whole, Phonopy(small, supercell_matrix=np.diag(size), primitive_matrix=np.eye(3), log_level=0)


def frame_of(cell: PhonopyAtoms) -> Frame:
    return Frame(tuple(cell.symbols), cell.cell, cell.positions)


def force_constants(record: PhononRecord, base: ChgnetPotential) -> ForceConstantLabel | None:
    """In 16 atoms, with DFT's frequencies and the mode shapes of `base`; None if these have no common symmetry."""
    whole, phonons = crystal(record)
    frame = frame_of(phonons.supercell)
    phonons.generate_displacements(distance=DISPLACEMENT)
    moved = base.predict([frame, *(frame_of(c) for c in phonons.supercells_with_displacements)])
    forces = moved.forces.reshape(-1, len(frame), 3)
    phonons.forces = forces[1:] - forces[0]
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()
    inverse = DynmatToForceConstants(phonons.primitive, phonons.supercell)
    waves = inverse.commensurate_points
    phonons.run_qpoints(waves, with_eigenvectors=True)
    full = unfolded(record.reference, whole.primitive_symmetry.pointgroup_operations)
    squares = []
    for q, own in zip(waves, phonons.qpoints.frequencies, strict=True):
        mine, dft = np.sign(own) * own**2, between(full, q)
        if np.allclose(q, 0.0):
            for values in (mine, dft):
                values[np.argsort(np.abs(values))[:3]] = 0.0
        order, found = np.argsort(mine, kind="stable"), np.empty_like(mine)
        found[order] = lent(mine[order], np.sort(dft))
        squares.append(found)
    wanted = np.array(squares)
    inverse.create_dynamical_matrices(wanted / phonons.unit_conversion_factor**2, phonons.qpoints.eigenvectors)
    inverse.run()
    phonons.force_constants = inverse.force_constants
    phonons.symmetrize_force_constants()
    phonons.run_qpoints(waves)
    frequencies = np.sort(np.sign(wanted) * np.sqrt(np.abs(wanted)), axis=1)
    if np.abs(np.sort(phonons.qpoints.frequencies, axis=1) - frequencies).max() > WRONG_SYMMETRY:
        return None
    rows = np.array(phonons.primitive.p2s_map)
    known = np.asarray(phonons.force_constants)
    array = known[rows] if len(known) == len(frame) else known
    return ForceConstantLabel(frame, DFT, rows, array, source=record.name)


def shaken(label: ForceConstantLabel, rng: np.random.Generator) -> Frame:
    """Four atoms of a crystal, strained and displaced."""
    crystal, two = label.frame, len(label.atoms) == 2
    cell = crystal.cell / [[2.0], [2.0], [2.0 if two else 1.0]]
    positions, species = crystal.positions[label.atoms], [crystal.species[k] for k in label.atoms]
    if two:
        positions, species = np.concatenate([positions, positions + cell[0]]), species * 2
        cell = cell * [[2.0], [1.0], [1.0]]
    shear = rng.normal(0.0, 0.025, (3, 3))
    strain = (1.0 + rng.uniform(-0.03, 0.04)) * np.eye(3) + 0.5 * (shear + shear.T)
    return Frame(tuple(species), cell @ strain, positions @ strain + rng.normal(0.0, 0.15, positions.shape))


def replay(base: ChgnetPotential, frames: Sequence[Frame]) -> list[LabeledFrame]:
    """`frames` with what `base` says of them as labels."""
    said = base.predict(frames)
    forces = np.split(said.forces, np.cumsum(said.counts)[:-1])
    labels = [
        Label(frame.frame_id, REPLAY, energy=float(energy), forces=f, stress=stress)
        for frame, energy, f, stress in zip(frames, said.energy, forces, said.stress, strict=True)
    ]
    return [LabeledFrame(frame, label) for frame, label in zip(frames, labels, strict=True)]


def drift(tuned: ChgnetPotential, items: Sequence[LabeledFrame]) -> dict[str, tuple[float, float]]:
    """By quantity, the RMS change since the replay was made, and the RMS of what it says; energies have no scale."""
    said = tuned.predict([item.frame for item in items])
    forces, stress = (np.concatenate([np.atleast_2d(getattr(i.label, n)) for i in items]) for n in ("forces", "stress"))
    energy = (said.energy - np.array([item.label.energy for item in items])) / said.counts

    def rms(values: FloatArray) -> float:
        return float(np.sqrt(np.mean(values**2)))

    return {
        "energy, eV/atom": (rms(energy), float("nan")),
        "forces, eV/A": (rms(said.forces - forces), rms(forces)),
        "stress, eV/A^3": (rms(said.stress - stress), rms(stress)),
    }


def saved(potential: ChgnetPotential, family: ChgnetFamily, where: Path) -> Path:
    settings = {"settings": family.model_dump(mode="json")}
    return PotentialEnsemble((potential,), family.name, Calibration(), settings).save(where)


def held_out(data: Path, names: Sequence[str], out: Path) -> Path:
    """The crystals of these names, in the supercells of the third-order calculations."""
    atoms = [a for a in read(data / "structures.extxyz", ":") if f"{a.info['name']} {a.info['mp_id']}" in names]
    for one in atoms:
        one.info["fc2_supercell"] = one.info["fc3_supercell"]
    write(out, atoms, format="extxyz")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--data", type=Path, default=Path("kappa103"))
    for name, default in (("split", 0), ("turns", 80), ("learnt", 26), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    out: Path = given.directory
    out.mkdir(parents=True, exist_ok=True)
    records = read_phonon_records(given.data / "dft.json.gz", structures=given.data / "structures.extxyz")
    elements = sorted({symbol for record in records for symbol in record.crystal.species})
    known, unknown = split(records, given.learnt, given.split)

    tuning = {"turns": given.turns, "crystals": 6, "label_steps": 1, "learning_rate": (1e-3, 1e-5)}
    common = {"precision": "float32", "elements": elements, "start_bias": "keep", "batch_frames": 6}
    untuned = ChgnetFamily(**common, finetuning={"turns": 0})
    alone = LabeledFrame(known[0].crystal, Label(known[0].crystal.frame_id, REPLAY, energy=0.0))
    base, _ = untuned.fit([alone], elements=elements, seed=0)
    labels = [label for record in known if (label := force_constants(record, base)) is not None]
    rng = np.random.default_rng(given.split)
    items = replay(base, [shaken(label, rng) for label in labels for _ in range(2)])
    family = ChgnetFamily(**common, finetuning=tuning)
    name = f"after-{given.split}-{given.turns}-{given.seed}"
    tuned, report = family.fit(
        items,
        elements=elements,
        seed=given.seed,
        start=base,
        force_constants=labels,
        workdir=out / name / "training",
        progress=lambda fraction, text: print(f"{fraction:.2f} {text}", flush=True),
    )
    models = {"before": saved(base, untuned, out / "before"), name: saved(tuned, family, out / name / "ensemble")}
    print(f"{len(labels)} crystals learnt from, {report.cost.cpu_seconds:.0f} CPU s")
    for quantity, (change, size) in drift(tuned, replay(base, [shaken(label, rng) for label in labels])).items():
        print(f"changed on unseen replay: {quantity}: {change:.3g} of {size:.3g}")
    structures = held_out(given.data, [record.name for record in unknown], out / f"held-out-{given.split}.extxyz")
    found = benchmark_phonons(
        given.data / "dft.json.gz",
        out / f"phonons-{name}",
        models=models,
        structures=structures,
        displacement=DISPLACEMENT,
    )
    for model in models:
        print(model, found.mean_errors(model), found.change(model))


if __name__ == "__main__":
    main()
