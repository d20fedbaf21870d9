"""Labels of elements made for the benchmark of metals: crystals at three temperatures and melts, at several smearings.

The frames are those that Owen et al. (npj Comput. Mater. 10, 92, 2024) took their temperatures for: 0.25, 0.75 and
1.25 of the melting point. Theirs are molecular dynamics on DFT; here four atoms are displaced as in a Debye crystal,
and melts are run on a potential that has learnt from the crystals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from magflow.api.metals import MELT, TEMPERATURES, Metal
from magflow.api.opening import engine_of, family_of
from magflow.core.dataset import Dataset
from magflow.core.files import held, replace_file
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame, LabelKind
from magflow.core.protocols import LabelEngine, WorkProgress, silent
from magflow.dft.kpoints import kpoint_mesh
from magflow.errors import CampaignError, InputError
from magflow.execution.labelling import LabelTask
from magflow.io.extxyz_writer import format_frame, write_extxyz
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.records import Record
from magflow.io.sources import Wish
from magflow.potentials.training import EnsembleTask, train_ensemble

WORK = ".labels"
"""Directory below that of the labels in which queues, finished labels and first potentials are kept."""
TURN = 4
"""Frames that are labelled at every smearing before the next ones: whenever it ends, the sets hold the same frames."""
SMEARINGS = ("tsmear_ha", "sigma_ev")
"""Settings of engines that a smearing may be called."""
SPACING = 0.6
"""1/A; of the k-points in the ideal cell, whose mesh all cells of an element have."""
ABINIT: Mapping[str, Any] = {
    **{"ecut_ha": 12.0, "pawecutdg_ha": 20.0, "ecutsm_ha": 0.5, "shift": (0.5, 0.5, 0.5), "tolvrs": 1e-6},
    **{"overlap_limit": 0.2, "d_band": True, "kpoints": SPACING},
}
"""Settings of a label of some 20 CPU s; for comparisons at one level, not for properties."""

_FAMILY = {"level": 8}


@dataclass(frozen=True)
class Generated:
    """Labels of one element at one smearing.

    Parameters
    ----------
    name
        ``Cu-0.01``.
    kind
        Of label.
    failures
        Kind of failure to the messages of the frames it befell.
    computed
        Labels computed in this run; the others were there.
    cpu_seconds
        Mean of a label.
    """

    name: str
    kind: str
    file: str | None
    labels: int
    computed: int
    failures: Mapping[str, Sequence[str]]
    cpu_seconds: float | None
    core_hours: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class MetalRun:
    """The labels of one metal in a directory; every step keeps what an earlier run has finished.

    Parameters
    ----------
    engines
        Ending of a set's name to the engine of its labels.
    crystals, melts
        Frames there are to be.
    """

    metal: Metal
    engines: Mapping[str, LabelEngine]
    crystals: int
    melts: int
    seed: int
    directory: Path
    workers: int = 1

    def run(self, progress: WorkProgress = silent) -> list[Generated]:
        """Label crystals, run melts on what has been learnt from them, label these; write a file per set.

        Raises
        ------
        CampaignError
            If melts are asked for and there is nothing to learn from.
        """
        each = [self.crystals // len(TEMPERATURES)] * len(TEMPERATURES)
        for k in range(self.crystals % len(TEMPERATURES)):
            each[k] += 1
        records: list[Record] = []
        for share, count in zip(TEMPERATURES, each, strict=True):
            records += self._drawn(f"{share:g}", share, count, lambda n, skip, s=share: self._solids(s, n, skip))
        records = _in_turns(records)
        computed = self._label(records, progress)
        if self.melts:
            learnt = self._task(next(iter(self.engines)), records).finished().items
            melts = self._drawn(MELT, TEMPERATURES[-1], self.melts, lambda n, skip: self._melted(learnt, n, skip))
            computed.update(self._label(melts, progress))
            records += melts
        return [self._written(end, records, computed[end]) for end in self.engines]

    @cached_property
    def _frames_file(self) -> Path:
        return self.directory / WORK / f"{self.metal.element}-frames.extxyz"

    def _drawn(self, group: str, share: float, count: int, draw: Any) -> list[Record]:
        """The frames of one group: those of an earlier run, and as many more as are missing.

        What was drawn is read from then on: another machine's arithmetic must not make other frames of it.
        """
        path = self._frames_file
        known = gather([path], Wish(), Findings()) if path.is_file() else []
        mine = [record for record in known if str(record.info["group"]) == group]
        if len(mine) < count:
            info = {"group": group, "temperature_K": round(share * self.metal.melting)}
            new = [Record(frame, info=info) for frame in draw(count - len(mine), len(mine))]
            replace_file(path, "".join(map(format_frame, [*known, *new])).encode())
            mine += new
        return mine[:count]

    def _solids(self, share: float, count: int, skip: int) -> list[Frame]:
        return self.metal.solids(share, count, self.seed + round(100 * share), skip)

    def _melted(self, items: Sequence[LabeledFrame], count: int, skip: int) -> list[Frame]:
        if not items:
            raise CampaignError("no label to learn from: melts need a first potential", where=self.metal.element)
        task = EnsembleTask(
            family=family_of("mmtp", _FAMILY),
            dataset=Dataset(items),
            elements=(self.metal.element,),
            members=1,
            seed=self.seed,
            bagging=False,
        )
        model, _ = train_ensemble(task, self.directory / WORK / f"{self.metal.element}-first-{task.key[:8]}")
        return self.metal.melts(model, count, self.seed, skip)

    def _task(self, end: str, records: Sequence[Record]) -> LabelTask:
        frames = tuple(self.metal.magnetic(record.frame) for record in records)
        place = self.directory / WORK / f"{self.metal.element}{end}"
        return LabelTask(frames, self.engines[end], (self.metal.element,), place)

    def _label(self, records: Sequence[Record], progress: WorkProgress) -> Counter[str]:
        """Every frame at every smearing, a few frames at a time; failed labels stay failed; counts what it computed."""
        computed: Counter[str] = Counter()
        for begin in range(0, len(records), TURN):
            part = records[begin : begin + TURN]
            for end in self.engines:
                task = self._task(end, part)
                before = task.finished()
                if len(before.items) + sum(map(len, before.failures.values())) < len(task.frames):
                    name = f"{self.metal.element}{end}: labels {begin + 1} to {begin + len(part)} of {len(records)}"
                    progress(begin / len(records), name, milestone=True)
                    computed[end] += task.run(self.workers, lambda done, n: None).computed
        return computed

    def _written(self, end: str, records: Sequence[Record], computed: int) -> Generated:
        found = self._task(end, records).finished()
        name = f"{self.metal.element}{end}"
        path = self.directory / f"{name}.extxyz"
        told = {record.frame.non_magnetic().frame_id: record.info for record in records}
        if found.items:
            made = (Record(i.frame, i.label, told[i.frame.non_magnetic().frame_id]) for i in found.items)
            write_extxyz(path, made)
        seconds = [item.label.cost.cpu_seconds for item in found.items]
        return Generated(
            name=name,
            kind=str(self.engines[end].kind),
            file=str(path) if found.items else None,
            labels=len(found.items),
            computed=computed,
            failures=found.failures,
            cpu_seconds=float(np.mean(seconds)) if seconds else None,
            core_hours=found.core_hours,
        )


def generate_tm(
    elements: Sequence[str],
    out: str | Path,
    *,
    engine: str = "abinit",
    settings: Mapping[str, Any] | None = None,
    smearings: Sequence[float] = (),
    crystals: int = 12,
    melts: int = 4,
    seed: int = 1,
    melting: Mapping[str, float] | None = None,
    debye: Mapping[str, float] | None = None,
    structures: Mapping[str, str] | None = None,
    lattice_constants: Mapping[str, float] | None = None,
    workers: int = 1,
    progress: WorkProgress = silent,
) -> list[Generated]:
    """Label frames of each element for :func:`benchmark_tm`: a file per element and smearing.

    What an earlier run has labelled in `out` is kept and paid once, failed labels too; the same call goes on after a
    kill, and may ask for more frames and smearings.

    Parameters
    ----------
    engine, settings
        What labels. Settings that are not given are those of :data:`ABINIT` with ABINIT, the engine's own else; labels
        of elements that are usually magnetic are spin-polarised, of others non-magnetic, unless they say ``kind``. A
        k-point spacing is made one mesh for all cells of an element.
    smearings
        Of the occupations, in the unit of the engine's setting (ABINIT: hartree; VASP: eV); all label the same frames.
        None: the one of the settings.
    crystals, melts
        Frames of each element: crystals at 0.25, 0.75 and 1.25 of the melting point in turn, melts at 1.25.
    melting, debye
        Element to melting point and Debye temperature, K, where those of pymatgen's table are not wanted or missing.
    structures, lattice_constants
        Element to what it crystallises in (``bcc``), and a in A, where ASE's reference state is not wanted.
    workers
        Labels at the same time.

    Raises
    ------
    InputError
        An element that nothing is known of, numbers out of range, a smearing for an engine that has none.
    MissingToolError
        If the engine lacks something.
    CampaignError
        No label to start a melt from.
    """
    if not elements or crystals < 1 or melts < 0:
        raise InputError("nothing to label", seen=f"{len(elements)} elements, {crystals} crystals, {melts} melts")
    said = {"melting": melting, "debye": debye, "structure": structures, "a": lattice_constants}
    if stray := sorted({e for known in said.values() for e in known or {}} - set(elements)):
        raise InputError("something is said of elements that are not asked for", seen=", ".join(stray))
    directory = Path(out)
    runs = []
    for element in dict.fromkeys(elements):
        metal = Metal.of(element, **{key: known.get(element) for key, known in said.items() if known})  # type: ignore[arg-type]
        engines = dict(_engines(metal, engine, settings or {}, smearings))
        run = MetalRun(metal, engines, crystals, melts, seed, directory, workers)
        for one in engines.values():
            LabelTask((metal.magnetic(metal.crystal),), one, (element,), directory).require_ready()
        runs.append(run)
    made: list[Generated] = []
    with held(directory / WORK, "these labels"):
        for k, run in enumerate(runs):
            made += run.run(_within(progress, k, len(runs)))
    return made


def _engines(
    metal: Metal, name: str, settings: Mapping[str, Any], smearings: Sequence[float]
) -> Iterator[tuple[str, LabelEngine]]:
    """Ending of the name of a set, and what labels it."""
    kind = LabelKind.SPIN_POLARISED if metal.moment else LabelKind.NON_MAGNETIC
    whole = {"kind": str(kind), **(ABINIT if name == "abinit" else {}), **settings}
    if isinstance(whole.get("kpoints"), float):
        whole["kpoints"] = kpoint_mesh(metal.crystal.cell, whole["kpoints"])
    plain = engine_of(name, whole, "settings of the engine")
    if not smearings:
        yield "", plain
        return
    key = next((key for key in SMEARINGS if key in type(plain).model_fields), None)
    if key is None:
        raise InputError(f"the engine {name} has no smearing", where="smearings", hint="leave it out")
    for value in dict.fromkeys(smearings):
        yield f"-{value:g}", engine_of(name, {**whole, key: value}, "settings of the engine")


def _in_turns(records: Sequence[Record]) -> list[Record]:
    """One of each group after the other: whenever labelling ends, there is as much of each."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(str(record.info["group"]), []).append(record)
    most = max(map(len, groups.values()), default=0)
    return [group[k] for k in range(most) for group in groups.values() if k < len(group)]


def _within(progress: WorkProgress, k: int, n: int) -> WorkProgress:
    def told(fraction: float, text: str, *, milestone: bool = False) -> None:
        progress((k + fraction) / n, text, milestone=milestone)

    return told
