"""A record such as a campaign leaves it, from a made-up law: error ~ labels^-0.8 with a deviation that foretells it."""

from __future__ import annotations

import dataclasses

import numpy as np

from magflow.core.arrays import encode_arrays
from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.execution.states import JobRecord, JobState
from magflow.makers.documents import CandidatesDoc, IterationDoc, LabelDoc, ModelDoc, OutcomeDoc, SelectionDoc
from magflow.report.record import CampaignRecord
from magflow.select.assessment import Assessment, ErrorStats

CAMPAIGN = "c0ffee0123456789"
TARGETS = {"energy": 0.005, "forces": 0.040, "magnetic_forces": 0.030}
STRATA = (("Al1Fe1", "FM", -1600.0, 11.9), ("Fe2", "FM", -3300.0, 11.4), ("Fe2", "AFM", -3299.6, 11.1))
ABINIT = {
    "code": "abinit", "version": "9.6.2", "kind": "constrained", "functional": "PBE",
    "datasets": {"Al": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "Fe": "f9e8d7c6b5a4039281706f5e4d3c2b1a"},
    "parameters": {"ecut_ha": 10.0, "pawecutdg_ha": 20.0, "kpoints": [4, 4, 4], "tsmear_ha": 0.01, "occopt": 3,
                   "tolvrs": 1e-8, "ratsph_bohr": 2.2, "nsym": 1},
}  # fmt: skip
MODEL = {"code": "spin-lattice model Hamiltonian", "version": "1", "kind": "constrained", "functional": "none",
         "datasets": {}, "parameters": {"stoner": [0.86, 0.15], "r0": [[2.48, 2.5], [2.5, 2.86]]}}  # fmt: skip
TEXT = """# B2 Fe-Al and bcc Fe
name: feal-quick
stop:
  targets: {energy: 5 meV/atom, forces: 40 meV/A, magnetic_forces: 30 meV/muB}
  labels: 120
seed: 7
"""
_SCALE = {"energy": 0.9, "forces": 6.0, "stress": 0.08, "magnetic_forces": 5.0}
_SPREAD = {"energy": 0.08, "forces": 0.8, "stress": 0.05, "magnetic_forces": 0.5}
_FACTOR = {"energy": 1.8, "forces": 1.3, "stress": 1.2, "magnetic_forces": 1.5}
CALIBRATION = Calibration({q: ErrorModel(f, 0.002) for q, f in _FACTOR.items()})
_CLAIM = {"labels": 9, "coverage": [0.61, 0.93], "spearman": 0.44, "deviation_rms": 0.01, "error_rms": 0.012}
CLAIMS = {"typical": dict.fromkeys(_FACTOR, _CLAIM), "chosen": {"forces": _CLAIM | {"labels": 16}}}
_START = 1_790_000_000.0


def framed(record: CampaignRecord) -> CampaignRecord:
    """`record` with the structures of its worst labels."""
    cell = 2.87 * np.eye(3)
    frame = Frame(("Al", "Fe"), cell, [[0.1, 0, 0], [1.5, 1.4, 1.3]], [-0.1, 2.2])
    return dataclasses.replace(record, frames=dict.fromkeys(record.worst, frame))


class Builder:
    """Adds one iteration after the other."""

    def __init__(self, seed: int = 0, batch: int = 24, offered: int = 400, level: dict | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.batch, self.offered, self.level = batch, offered, level or ABINIT
        self.parts: dict[str, list] = {
            k: [] for k in ("candidates", "selections", "pools", "labels", "models", "iterations", "parities", "jobs")
        }
        self.clock = _START
        self.total, self.attempted, self.hours = 0, 0, 0.0

    def base(self, i: int) -> dict:
        return {"campaign": CAMPAIGN, "iteration": i, "created_at": f"2026-01-02T03:{i:02d}:00+00:00"}

    def explore(self, i: int) -> None:
        n = self.offered
        sources = {
            "perturbation:B2-FeAl:FM": n // 2,
            "perturbation:bcc-Fe:FM": n // 4,
            "md:bcc-Fe:AFM": n - n // 2 - n // 4,
        }
        self.parts["candidates"].append(
            CandidatesDoc(
                **self.base(i),
                offered=n,
                sources=sources,
                health={"moment-collapse": 3 * i},
                wall_seconds=4.0,
                cpu_seconds=4.0,
                arrays="",
            )
        )
        self.job(f"explore {i}", 4.0)

    def select(self, i: int) -> None:
        n, batch = self.offered, self.batch
        kind = self.rng.integers(0, 3, n)
        pool = {
            "formula": np.array([STRATA[k][0] for k in kind]),
            "ordering": np.array([STRATA[k][1] for k in kind]),
            "volume": np.array([STRATA[k][3] for k in kind]) * self.rng.uniform(0.91, 1.09, n),
            "moment_max": self.rng.uniform(0, 2.8, n),
        }
        rest = n - batch
        reasons = {
            "selected": batch,
            "over-budget": rest // 3,
            "duplicate-of-training": i * 2,
            "not-diverse": rest // 4,
        }
        reasons["below-trust"] = n - sum(reasons.values())
        chosen = [f"frame{i:02d}{k:03d}" for k in range(batch)]
        sources = ["perturbation:B2-FeAl:FM"] * (batch - batch // 2) + ["md:bcc-Fe:AFM"] * (batch // 2)
        third = batch // 3
        self.parts["selections"].append(
            SelectionDoc(
                **self.base(i), offered=n, selected=chosen, frames=[""] * batch, sources=sources, reasons=reasons,
                strata={"Al1Fe1 FM": third, "Fe2 FM": third, "Fe2 AFM": batch - 2 * third},
                trust={"energy": (0.002, 0.05), "forces": (0.05, 0.6)}, exhausted=False, wall_seconds=1.5,
                cpu_seconds=1.5, arrays="",
            )
        )  # fmt: skip
        self.parts["pools"].append(pool)
        self.job(f"select {i}", 1.5)

    def label(self, i: int, failed: int = 0) -> None:
        for k in range(self.batch):
            formula, ordering, energy, volume = STRATA[k % 3]
            volume *= self.rng.uniform(0.91, 1.09)
            bad = k < failed
            wall = float(self.rng.lognormal(1.5, 0.3)) * (4 if bad else 1)
            kind = ("scf-unconverged", "time-limit")[k % 2]
            moment = float(self.rng.uniform(0, 2.8))
            answer = (
                {}
                if bad
                else {"energy": 2 * (energy + 0.1 * k / 24), "energy_per_atom": energy + 0.1 * k / 24 + 0.001 * i}
            )
            self.parts["labels"].append(
                LabelDoc(
                    **self.base(i), label_id=f"label{i:02d}{k:03d}", frame_id=f"frame{i:02d}{k:03d}",
                    state="failed" if bad else "ok", failure=kind if bad else None,
                    message="residual 3e-4 after 80 steps; lambda 2 tried" if bad else None, engine="abinit",
                    kind=LabelKind.CONSTRAINED, level_of_theory=self.level, level_of_theory_id="aa" * 8,
                    formula=formula, n_atoms=2, ordering=ordering, source="perturbation:B2-FeAl:FM",
                    volume_per_atom=volume, moment_max=moment, cpu_seconds=wall * 0.97, wall_seconds=wall, cores=1,
                    core_hours=wall / 3600, attempts=3 if bad else 1, arrays="", **answer,
                )
            )  # fmt: skip
            self.job(f"label {i}.{k}", wall, worker=k % 2)

    def train(self, i: int, members: int = 5) -> None:
        n = max(1, self.total)
        for m in range(members):
            rmse = {"train": {q: 0.6 * e for q, e in self.errors(n).items()}, "validation": self.errors(n)}
            self.parts["models"].append(
                ModelDoc(
                    **self.base(i), family="mmtp", settings={"level": 12, "cutoff": 5.0}, member=m, seed=1000 + m,
                    elements=["Al", "Fe"], n_labels=n, dataset=f"dataset{i:017d}", level_of_theory=self.level,
                    converged=m != 3, rmse=rmse, cpu_seconds=20.0, wall_seconds=20.0, arrays="",
                )
            )  # fmt: skip
            self.job(f"train {i}.{m}", 20.0, worker=m % 2)

    def errors(self, labels: int) -> dict[str, float]:
        return {q: 0.4 * s * labels**-1.1 for q, s in _SCALE.items()}

    def assess(self, i: int, failed: int) -> None:
        usable = self.batch - failed
        before = self.total
        self.total += usable
        self.attempted += self.batch
        arrays = self.parity(i, before) if i and usable else {}
        rmse = (
            {q: float(np.sqrt(np.mean((arrays[f"{q}_predicted"] - arrays[f"{q}_true"]) ** 2))) for q in _SCALE}
            if arrays
            else {}
        )
        within = bool(rmse) and all(rmse[q] <= t for q, t in TARGETS.items())
        hours = {
            "explore": 4 / 3600,
            "select": 1.5 / 3600,
            "label": sum(x.core_hours for x in self.parts["labels"][-self.batch :]),
            "train": 100 / 3600,
        }
        self.hours += sum(hours.values())
        previous = self.parts["iterations"][-1] if self.parts["iterations"] else None
        doc = {
            "offered": self.offered, "selected": self.batch, "labels_new": usable, "labels_failed": failed,
            "labels_total": self.total, "labels_attempted": self.attempted,
            "failures": {"scf-unconverged": failed} if failed else {}, "exhausted": False,
            "assessment": self.assessment(rmse) if rmse else None,
            "assessed": [x.label_id for x in self.parts["labels"] if arrays and x.iteration == i and x.state == "ok"],
            "calibration": CALIBRATION.as_dict() if rmse else {},
            "reliability": CLAIMS if rmse else {},
            "rmse": rmse, "within_target": within, "streak": (previous.streak if previous and within else 0) + within,
            "train_rmse": {q: 0.5 * e for q, e in self.errors(self.total).items()} if self.total else {},
            "core_hours": hours, "core_hours_total": self.hours, "arrays": encode_arrays(arrays),
        }  # fmt: skip
        self.parts["iterations"].append(IterationDoc(**self.base(i), **doc))
        self.parts["parities"].append(arrays)

    def assessment(self, rmse: dict[str, float]) -> dict:
        stats = {q: ErrorStats(24, 8, e, e, 3 * e, e) for q, e in rmse.items()}
        return Assessment(stats, {"Al1Fe1 FM": stats, "Fe2 AFM": stats}, 24).as_dict()

    def parity(self, i: int, labels: int) -> dict[str, np.ndarray]:
        usable = [x for x in self.parts["labels"] if x.iteration == i and x.state == "ok"]
        sizes = {
            "energy": len(usable),
            "forces": 6 * len(usable),
            "stress": 6 * len(usable),
            "magnetic_forces": 2 * len(usable),
        }
        arrays = {}
        for q, n in sizes.items():
            true = self.rng.normal(0, _SPREAD[q], n)
            if q == "energy":
                true = np.array([x.energy_per_atom for x in usable])
            deviation = self.errors(labels)[q] * self.rng.lognormal(-0.1, 0.5, n) / _FACTOR[q]
            arrays |= {f"{q}_true": true, f"{q}_deviation": deviation}
            arrays[f"{q}_predicted"] = true + self.rng.normal(0, 1, n) * deviation * _FACTOR[q]
            arrays[f"{q}_label"] = np.repeat(np.arange(len(usable)), n // len(usable))
        return arrays

    def job(self, name: str, seconds: float, worker: int = 0, state: JobState = JobState.COMPLETED) -> None:
        start = self.clock
        self.clock += seconds / 2 if "label" in name or "train" in name else seconds
        n = len(self.parts["jobs"])
        end = start + seconds
        row = JobRecord(
            f"uuid-{n}", 1, name, "flow", "light", state, 1, 0, 0, _START, start, end, seconds, seconds,
            f"host-{worker}", None, None,
        )  # fmt: skip
        self.parts["jobs"].append(row)

    def iteration(self, i: int, failed: int = 0) -> Builder:
        self.explore(i)
        self.select(i)
        self.label(i, failed)
        self.assess(i, failed)
        self.train(i)
        return self

    def record(self, **kw) -> CampaignRecord:
        parts = {k: tuple(v) for k, v in self.parts.items()}
        base = {
            "name": "feal-quick",
            "directory": "runs/feal quick",
            "text": TEXT,
            "targets": TARGETS,
            "versions": {"magflow": "0.1.0"},
        }
        return CampaignRecord(**(base | parts | kw))


def finished(iterations: int = 5, *, jobs: bool = True, level: dict | None = None) -> CampaignRecord:
    """A campaign that reached its targets."""
    builder = Builder(level=level)
    for i in range(iterations):
        builder.iteration(i, failed=(2, 0, 3, 1, 0)[i % 5])
    outcome = finished_outcome(builder, builder.parts["iterations"][-1])
    return builder.record(outcome=outcome, **({} if jobs else {"jobs": ()}))


def finished_outcome(builder: Builder, last: IterationDoc) -> OutcomeDoc:
    return OutcomeDoc(
        **builder.base(last.iteration), name="feal-quick", reason="target-reached",
        explanation="the ensemble predicted the new labels of 2 iterations in a row within every target",
        labels=builder.total, core_hours=builder.hours, models=["u1", "u2"], calibration=last.calibration,
        rmse=last.rmse,
    )  # fmt: skip


def batch_failed() -> CampaignRecord:
    """A campaign all of whose first labels failed."""
    builder = Builder()
    builder.explore(0)
    builder.select(0)
    builder.label(0, failed=24)
    builder.assess(0, 24)
    outcome = OutcomeDoc(
        **builder.base(0), name="feal-quick", reason="batch-failed",
        explanation="all 24 labels of iteration 0 failed: scf-unconverged",
        labels=0, core_hours=builder.hours, models=[], calibration={}, rmse={},
    )  # fmt: skip
    return builder.record(outcome=outcome)


def started(phase: str) -> CampaignRecord:
    """A campaign in its first iteration, after `phase`: nothing, explore, select, label or iteration."""
    builder = Builder()
    for name in ("explore", "select", "label"):
        if phase in ("explore", "select", "label")[("explore", "select", "label").index(name) :]:
            getattr(builder, name)(0)
    return Builder().iteration(0).record() if phase == "iteration" else builder.record()


def hostile(record: CampaignRecord, payload: str) -> CampaignRecord:
    """`record` with `payload` in every free text that reaches the page."""
    labels = tuple(
        x.model_copy(
            update={
                "source": payload,
                "message": payload,
                "formula": payload,
                "failure": payload if x.failure else None,
            }
        )
        for x in record.labels
    )
    selections = tuple(
        x.model_copy(update={"reasons": {payload: x.offered}, "strata": {payload: 1}, "sources": [payload]})
        for x in record.selections
    )
    candidates = tuple(
        x.model_copy(update={"sources": {payload: 1}, "health": {payload: 1}}) for x in record.candidates
    )
    jobs = tuple(
        dataclasses.replace(x, name=payload, worker=payload, error=payload, state=JobState.FAILED) for x in record.jobs
    )
    outcome = record.outcome and record.outcome.model_copy(update={"reason": payload, "explanation": payload})
    return dataclasses.replace(
        record, name=payload, directory=payload, text=payload, labels=labels, selections=selections,
        candidates=candidates, jobs=jobs, outcome=outcome, versions={payload: payload},
    )  # fmt: skip
