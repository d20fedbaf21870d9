"""Force constants in the DAG: crystals at rest are labelled, then with an atom displaced, and read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jobflow import CURRENT_JOB, Job, job

from magflow.core.arrays import digest
from magflow.core.force_constants import ForceConstantLabel, check_at_rest, check_cell_at_rest
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind, LevelOfTheory, label_id
from magflow.core.protocols import LabelEngine
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.io.force_constants import force_constants_as_dict, force_constants_from_dict
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare
from magflow.makers.documents import BatchDoc, Purpose
from magflow.makers.label import LabelMaker, level_of_theory
from magflow.makers.packing import pack_frame, unpack_frame, unpack_labelled
from magflow.makers.purse import Purse
from magflow.makers.train import carried, stored_ensemble
from magflow.makers.tuning_documents import ForceConstantsDoc
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.properties.displaced import displaced_frames, moved_by, of_crystal
from magflow.properties.measurement import Moments
from magflow.properties.subject import Subject

LOST = "worker-lost"
"""Failure of a label whose job left no document."""


@dataclass(kw_only=True)
class PhononMaker(PluginMaker):
    """Labels crystals for their force constants, and reads these.

    Each crystal is brought to rest on the ensemble and labelled. Where its label says that it is at rest, the same is
    labelled with one atom displaced, as few frames as its symmetry, moments included, allows.

    Parameters
    ----------
    engine
        Labels, at the level of theory of the campaign.
    crystals
        Name, unit cell (:func:`~magflow.makers.packing.pack_frame`) and repeats of each.
    displacement
        A.
    kept
        Take atoms and cells as they are; moments come to rest all the same.
    max_moment
        Largest |m| by element, muB.
    labels, core_hours
        Labels that loop and force constants may take together, core-hours of the latter; None: no limit.
    attempts
        Labels made before, where failed ones are computed again: it tells this question from the one before.
    """

    engine: LabelEngine
    campaign: Campaign
    crystals: list[tuple[str, str, list[int]]]
    displacement: float
    kept: bool = False
    max_moment: dict[str, float] = field(default_factory=dict)
    labels: int | None = None
    core_hours: float | None = None
    attempts: int = 0
    name: str = "phonons"

    @property
    def which(self) -> str:
        """Tells questions apart."""
        crystals = [self._crystal(k) for k in range(len(self.crystals))]
        said = [crystals, self.displacement, self.kept, self.max_moment, self.labels, self.core_hours]
        said += [self.attempts] if self.attempts else []
        return digest([repr(said).encode()], 12)

    @property
    def sources(self) -> list[str]:
        """What its labels name as their source, one per crystal."""
        return [_source({"name": self._title(k)}) for k in range(len(self.crystals))]

    def jobs(self, models: list[str], calibration: dict[str, Any], iteration: int) -> list[Job]:
        """Labels and force constants; the outputs of the last jobs, one per crystal, are ForceConstantsDocs."""
        which, mine = self.which, self.campaign
        paid = [roles.batch(i).uuid(mine.id) for i in range(iteration + 1)]
        reads = [*models, *paid]
        drawn = self.at_rest(models, calibration, paid)
        role = roles.draw(Purpose.PHONON, iteration, which)
        still = prepare(drawn, mine, role, expose_store=True, reads=reads)
        perfect = self._batch(still, iteration, f"{which}-rest")
        moved = self.displace(still.output["crystals"], perfect.output, models, calibration, paid)
        prepare(moved, mine, roles.displace(iteration, which), expose_store=True, reads=reads)
        displaced = self._batch(moved, iteration, f"{which}-displaced")
        gathered = []
        for k in range(len(self.crystals)):
            made = self.gather(moved.output["crystals"][k], perfect.output, displaced.output, iteration)
            gathered.append(prepare(made, mine, roles.force_constants(iteration, which, self._title(k), k)))
        return [still, perfect, moved, displaced, *gathered]

    def uuids(self, iteration: int) -> list[str]:
        """Of the jobs that gather, one per crystal."""
        of = range(len(self.crystals))
        return [roles.force_constants(iteration, self.which, "", k).uuid(self.campaign.id) for k in of]

    def _batch(self, drawn: Job, iteration: int, which: str) -> Job:
        label = LabelMaker(engine=self.engine, campaign=self.campaign, purpose=Purpose.PHONON)
        made = label.batch(drawn.output["sources"], drawn.uuid, iteration, (str(Purpose.PHONON), which))
        return prepare(made, self.campaign, roles.batch_beside(Purpose.PHONON, iteration, which))

    @job
    def at_rest(self, models: list[str], calibration: dict[str, Any], paid: Sequence[str] = ()) -> dict[str, Any]:
        """The perfect supercells: ``frames``, ``sources``, and ``crystals`` with the reason why one is left out.

        `paid` are the jobs that hold the labels of the loop.
        """
        ensemble = stored_ensemble(models, calibration)
        purse, level = self._purse(paid), self._level
        found = []
        for k in range(len(self.crystals)):
            entry: dict[str, Any] = {"name": self._title(k), "crystal": self._key(k), "reason": ""}
            try:
                self._check_level(ensemble)
                frame = self._known(k) or self._at_rest(k, ensemble)
                entry["frame"] = pack_frame(frame)
                entry["reason"] = purse.pay([label_id(frame.frame_id, level)])
            except InputError as error:
                entry["reason"] = str(error)
            found.append(entry)
        frames = [entry["frame"] for entry in found if not entry["reason"]]
        return {"frames": frames, "sources": [_source(e) for e in found if not e["reason"]], "crystals": found}

    @job
    def displace(
        self,
        crystals: list[dict[str, Any]],
        batch: BatchDoc,
        models: list[str],
        calibration: dict[str, Any],
        paid: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The same with one atom displaced, of crystals that their labels say are at rest."""
        ensemble, purse, level = stored_ensemble(models, calibration), self._purse(paid, batch), self._level
        frames: list[str] = []
        sources: list[str] = []
        found = []
        for given in crystals:
            entry = dict(given)
            if not entry["reason"]:
                perfect = unpack_frame(entry["frame"])
                entry |= self._residuals(perfect, batch, ensemble, entry["name"])
            if not entry["reason"]:
                displaced = displaced_frames(perfect, self.displacement)
                entry["reason"] = purse.pay([label_id(f.frame_id, level) for f in displaced])
                entry["displaced"] = [pack_frame(f) for f in displaced]
            if not entry["reason"]:
                frames += entry["displaced"]
                sources += [_source(entry)] * len(entry["displaced"])
            found.append(entry)
        return {"frames": frames, "sources": sources, "crystals": found}

    @job(data="arrays")
    def gather(
        self, crystal: dict[str, Any], perfect: BatchDoc, displaced: BatchDoc, iteration: int
    ) -> ForceConstantsDoc:
        """The force constants of one crystal; rows of an atom need all its displacements."""
        about = {
            "campaign": self.campaign.id,
            "iteration": iteration,
            **{key: crystal.get(key) for key in ("name", "crystal", *_RESIDUALS)},
        }
        if crystal["reason"]:
            return ForceConstantsDoc(**about, state="refused", reason=crystal["reason"], arrays="")
        level, whole = self._level, unpack_frame(crystal["frame"])
        moved = [unpack_frame(text) for text in crystal["displaced"]]
        ids = {frame.frame_id: label_id(frame.frame_id, level) for frame in (whole, *moved)}
        known = _labelled([whole, *moved], [perfect, displaced])
        kinds = {**perfect.failed, **displaced.failed}
        failed = {ids[f.frame_id]: kinds.get(ids[f.frame_id], LOST) for f in moved if f.frame_id not in known}
        about |= {
            "frame_id": whole.frame_id,
            "n_atoms": len(whole),
            "failed": failed,
            "labels": [ids[name] for name in known],
        }
        try:
            label = _constants(whole, moved, known, crystal["name"])
        except InputError as error:
            return ForceConstantsDoc(**about, state="refused", reason=str(error), arrays="")
        plain = force_constants_as_dict(label)
        return ForceConstantsDoc(
            **about,
            state="ok",
            label_id=label.label_id,
            rows=label.atoms.tolist(),
            moments=label.moments,
            level_of_theory=plain["level_of_theory"],
            arrays=plain["arrays"],
        )

    @property
    def _level(self) -> LevelOfTheory:
        return level_of_theory(self.engine, self.campaign.elements)

    def _check_level(self, ensemble: PotentialEnsemble) -> None:
        """Whether the ensemble was fitted at the level of theory that the engine has now."""
        learnt, now = LevelOfTheory.from_dict(ensemble.metadata["level_of_theory"]), self._level
        if learnt.fingerprint != now.fingerprint:
            raise InputError(
                "the ensemble was fitted to labels of another level of theory",
                seen=f"{learnt.code} {learnt.version} {learnt.kind} {learnt.fingerprint}",
                expected=f"{now.code} {now.version} {now.kind} {now.fingerprint}, at which the engine labels now",
            )

    def _purse(self, paid: Sequence[str], *mine: BatchDoc) -> Purse:
        """After the batches of the loop and those of this question, which a store that is reached knows by itself."""
        purse = Purse.of(CURRENT_JOB.store, self.campaign.id, self.labels, self.core_hours)
        if came := carried(paid, BatchDoc):
            purse.count(came, mine)
        return purse

    def _crystal(self, k: int) -> tuple[str, str, list[int]]:
        """As a campaign names it: a queue may have made a list of a tuple, which is no other question."""
        name, packed, repeats = self.crystals[k]
        return name, packed, list(repeats)

    def _title(self, k: int) -> str:
        name, packed, repeats = self._crystal(k)
        return f"{name} {unpack_frame(packed).ordering} {'x'.join(map(str, repeats))}"

    def _key(self, k: int) -> str:
        return digest([repr([self._crystal(k), self.displacement, self.kept, self.max_moment]).encode()], 12)

    def _known(self, k: int) -> Frame | None:
        """The supercell that was asked of an earlier ensemble, and was at rest: its labels are there."""
        store = CURRENT_JOB.store
        criteria = {"output.doc_type": "force-constants", "output.crystal": self._key(k), "output.state": "ok"}
        mine = {"output.campaign": self.campaign.id, **ForceConstantsDoc.readable()}
        found = None if store is None else store.query_one(criteria | mine, load=True)
        if found is None:
            return None
        label = force_constants_of(ForceConstantsDoc(**found["output"]))
        return label.frame if label.level_of_theory.fingerprint == self._level.fingerprint else None

    def _at_rest(self, k: int, ensemble: PotentialEnsemble) -> Frame:
        """The supercell of one crystal, atoms, cell and moments at rest on the ensemble, as far as they are free."""
        name, packed, repeats = self._crystal(k)
        unit = unpack_frame(packed)
        plain = self.engine.kind == LabelKind.NON_MAGNETIC
        unit = unit.non_magnetic() if plain else unit
        moments = Moments.RELAXED if ensemble.magnetic else Moments.NOT_READ
        subject = Subject(ensemble, name, unit, moments, dict(self.max_moment))
        rested = subject.with_moments_at_rest([unit])[0] if self.kept else subject.at_rest()
        a, b, c = repeats
        return repeated(rested, (a, b, c))

    def _residuals(self, perfect: Frame, batch: BatchDoc, ensemble: PotentialEnsemble, name: str) -> dict[str, Any]:
        """What is left on a perfect supercell, and the reason why that is too much."""
        known = _labelled([perfect], [batch])
        if perfect.frame_id not in known:
            kind = batch.failed.get(label_id(perfect.frame_id, self._level), LOST)
            return {"reason": f"the label of the perfect supercell failed: {kind}"}
        label = known[perfect.frame_id].label
        stress = None if label.stress is None else label.stress - ensemble.label_stress_offset([perfect])[0]
        left = {
            "residual_force": _largest(None if label.forces is None else np.linalg.norm(label.forces, axis=1)),
            "residual_stress_gpa": _largest(None if stress is None else EV_PER_A3_IN_GPA * stress),
            "residual_magnetic_force": _largest(label.magnetic_forces),
        }
        try:
            if label.forces is None:
                raise InputError("the label of the perfect supercell has no forces", where=name)
            check_at_rest(label.forces, name)
            if stress is not None:
                check_cell_at_rest(stress, name)
        except InputError as error:
            return {**left, "reason": str(error)}
        return {**left, "reason": ""}


_RESIDUALS = ("residual_force", "residual_stress_gpa", "residual_magnetic_force")


def force_constants_of(document: ForceConstantsDoc) -> ForceConstantLabel:
    """The force constants in a document that has some."""
    return force_constants_from_dict(
        {
            "level_of_theory": document.level_of_theory,
            "moments": document.moments,
            "source": document.name,
            "arrays": document.arrays,
        }
    )


def _source(crystal: dict[str, Any]) -> str:
    return f"phonon:{crystal['name']}"


def _largest(values: FloatArray | None) -> float | None:
    """The largest size of a number that is one; None without any."""
    known = np.zeros(0) if values is None else np.abs(values[np.isfinite(values)])
    return float(known.max()) if known.size else None


def _labelled(frames: Sequence[Frame], batches: Sequence[BatchDoc]) -> dict[str, LabeledFrame]:
    """frame_id to the label of each of `frames` that has one, in its orientation."""
    labels = {item.frame.frame_id: item.label for b in batches for item in unpack_labelled(b.arrays)}
    return {f.frame_id: LabeledFrame(f, labels[f.frame_id].for_frame(f)) for f in frames if f.frame_id in labels}


def _constants(
    perfect: Frame, displaced: Sequence[Frame], known: dict[str, LabeledFrame], name: str
) -> ForceConstantLabel:
    """Rows of the atoms all of whose displacements have labels."""
    atoms = [int(np.linalg.norm(moved_by(perfect, f), axis=1).argmax()) for f in displaced]
    lacking = {atom for atom, f in zip(atoms, displaced, strict=True) if f.frame_id not in known}
    items = [known[f.frame_id] for atom, f in zip(atoms, displaced, strict=True) if atom not in lacking]
    if not items:
        raise InputError("no atom has labels of all its displacements", where=name)
    forces = known[perfect.frame_id].label.forces
    if forces is None:
        raise InputError("the label of the perfect supercell has no forces", where=name)
    return of_crystal(perfect, items, forces, name)
