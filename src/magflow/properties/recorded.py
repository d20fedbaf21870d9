"""Phonons of a potential where somebody has recorded those of a crystal: the same supercell, the same mesh."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.frame import Frame
from magflow.core.phonon_record import PhononRecord, Spectrum
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.displaced import complete
from magflow.properties.harmonic import phonopy_in, phonopy_of
from magflow.properties.measurement import Moments
from magflow.properties.subject import Subject
from magflow.properties.vibrations import MESH, Vibrations, vibrations_from, vibrations_of, vibrations_on

if TYPE_CHECKING:
    from phonopy import Phonopy


class Geometry(StrEnum):
    """Where a potential is asked for its phonons."""

    RELAXED = "relaxed"
    """Atoms and cell at rest on the potential; moments as recorded."""
    KEPT = "kept"
    """In the recorded crystal; what forces are left there is taken off."""


def reference_vibrations(record: PhononRecord) -> Vibrations:
    """What the record says.

    Raises
    ------
    InputError
        Force constants of too few atoms: symmetry does not make all rows of those known.
    """
    said = record.reference
    if isinstance(said, Spectrum):
        return vibrations_from(said.qpoints, said.weights, said.frequencies)
    full = complete(said)
    if full is None:
        raise InputError(
            "force constants of too few atoms",
            where=record.name,
            seen=f"rows of atoms {said.atoms.tolist()}",
            expected="with the symmetry of the crystal, those of all atoms",
        )
    return vibrations_of(said.frame, full)


def vibrations_at(record: PhononRecord, crystal: Frame, ensemble: PotentialEnsemble, displacement: float) -> Vibrations:
    """What an ensemble says, by finite displacements that phonopy chooses.

    Parameters
    ----------
    crystal
        The unit cell as the potential is to see it.
    displacement
        A.

    Raises
    ------
    InputError
        What the potential refuses.
    """
    phonons = _phonopy(record, crystal)
    phonons.generate_displacements(distance=displacement)
    still = ensemble.predict([_frame(phonons.supercell)]).mean.forces
    moved = [_frame(s) for s in phonons.supercells_with_displacements or ()]
    forces = ensemble.predict(moved).mean.forces.reshape(len(moved), *still.shape) - still
    phonons.forces = forces
    phonons.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    phonons.symmetrize_force_constants(show_drift=False)
    said = record.reference
    return vibrations_on(phonons, said.mesh if isinstance(said, Spectrum) else MESH)


def crystal_on(record: PhononRecord, ensemble: PotentialEnsemble, geometry: Geometry) -> Frame:
    """The unit cell in which an ensemble is asked.

    Raises
    ------
    InputError
        An element that it does not know, moments that are missing, a stress that is not known where the cell is to
        relax, a crystal that does not come to rest.
    """
    moments = Moments.FIXED if ensemble.magnetic else Moments.NOT_READ
    subject = Subject(ensemble, record.name, record.crystal, moments)
    if geometry is Geometry.KEPT:
        return subject.frame
    if not np.isfinite(ensemble.predict([subject.frame]).mean.stress).all():
        raise InputError("the potential gives no stress", where=record.name, hint="ask for the geometry that is kept")
    return subject.at_rest()


def _phonopy(record: PhononRecord, crystal: Frame) -> Phonopy:
    if record.primitive is None:
        return phonopy_of(crystal)
    return phonopy_in(crystal, record.supercell, record.primitive)


def _frame(atoms: Any) -> Frame:
    return Frame(tuple(atoms.symbols), atoms.cell, atoms.positions, atoms.magnetic_moments)
