"""What ``magflow check`` looks at before a campaign spends anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from maggma.stores import JSONStore

from magflow.campaign.budget import crystals, labels_wanted, loop_rules
from magflow.campaign.doubts import Placed
from magflow.campaign.estimate import estimate
from magflow.campaign.found import looks_at_labels
from magflow.campaign.schema import CampaignSpec
from magflow.campaign.source import Key
from magflow.campaign.trial import price, trial_doubts, try_label
from magflow.core.frame import Frame
from magflow.core.label import LabelKind
from magflow.core.protocols import Probe, RefusesFrames
from magflow.core.readiness import require_all
from magflow.core.uncertainty import Uncertainty, require_told
from magflow.core.unseen import TellsUnseen
from magflow.errors import CampaignError, InputError, MagflowError, MissingToolError, StoreError
from magflow.explore.domain import sample
from magflow.explore.geometry import nearest_distance
from magflow.explore.orderings import PrototypeOrdering
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.presentation.formats import plural
from magflow.select.domain_error import SCATTER, UNSEEN_SCATTER, labels_needed
from magflow.select.settings import Strategy
from magflow.stores.connection import refuse_network_file_system
from magflow.stores.indexes import missing_indexes
from magflow.stores.jobstore import job_store_from_description, require_connection
from magflow.stores.layout import additional_stores
from magflow.stores.mongo import MongoJobStore

USUALLY_MAGNETIC = frozenset(
    ["Cr", "Mn", "Fe", "Co", "Ni", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "U", "Np"]
)
"""Elements whose missing moment range is more likely an oversight than meant."""

_PLACES: Mapping[str, Key] = {
    "moments": ("system", "moments"),
    "elements": ("system", "elements"),
    "targets": ("stop", "targets"),
    "ensemble": ("train", "ensemble"),
    "budget": ("select", "initial"),
    "transfer": ("transfer",),
}
WITHIN = 2.0
"""Factor below its targets at which a campaign might be expected to stop on them."""
_TRIALS = 32
"""Frames of the domain that are built to see whether it can be sampled."""


@dataclass(frozen=True)
class Finding:
    """A group of probes and the error that a failed one amounts to.

    `place` is where in the campaign file the group is decided, `places` where single probes of it are.
    """

    title: str
    probes: tuple[Probe, ...]
    error: type[MagflowError]
    place: Key = ()
    places: Mapping[str, Key] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if every probe is."""
        return all(probe.ok for probe in self.probes)

    def key(self, probe: Probe) -> Key:
        """Of the campaign file, that decides what `probe` looked at; empty: none does."""
        return self.places.get(probe.name, self.place)


def check_campaign(spec: CampaignSpec, directory: Path | None = None) -> list[Probe]:
    """Every probe of :func:`findings`; nothing is computed and nothing written."""
    return [probe for finding in findings(spec, directory) for probe in finding.probes]


def findings(spec: CampaignSpec, directory: Path | None = None) -> list[Finding]:
    """Probes of the label engine, the potential family, structures, settings that belong together, and the store.

    Parameters
    ----------
    directory
        Where the campaign is to live; None: the present directory.
    """
    engine = spec.engine().probe(spec.system.elements)
    structures = tuple(_structures(spec))
    crystals: dict[str, Key] = {p.name: ("system", "prototypes", n) for n, p in enumerate(structures)}
    cost = _guarded("estimate", partial(estimate, spec))
    return [
        Finding("label engine", tuple(engine), MissingToolError, ("label", "engine")),
        Finding("potential family", tuple(spec.family().probe()), MissingToolError, ("train", "family")),
        Finding("structures", structures, InputError, places=crystals),
        *([Finding("labels", tuple(_labels(spec)), InputError, ("labels",))] if spec.labels else []),
        Finding("settings", tuple(_settings(spec)), InputError, places=_PLACES),
        *([Finding("force constants", _phonons(spec), InputError, ("phonons",))] if spec.phonons else []),
        Finding("store", tuple(_store(spec, directory or Path.cwd())), StoreError, ("store",)),
        Finding("cost", (cost,), CampaignError, ("label", "core_seconds")),
    ]


def require_ready(spec: CampaignSpec, directory: Path | None = None) -> None:
    """Raise the gravest thing that :func:`findings` found, with all that failed in its text.

    Raises
    ------
    MissingToolError, InputError, StoreError
        If something is missing, inconsistent or not writable.
    """
    failed = [finding for finding in findings(spec, directory) if not finding.ok]
    if failed:
        require_all((probe for finding in failed for probe in finding.probes), failed[0].error)


def try_one(spec: CampaignSpec) -> tuple[Finding, list[Placed]]:
    """Label one frame, and say what the campaign will cost by it; what is odd about that label."""
    try:
        trial = try_label(spec)
    except MagflowError as error:
        probe = Probe("label", False, error.message, error.hint or "")
        return Finding("trial", (probe,), type(error), ("label", "settings")), []
    ok = trial.label.failure is None
    probes = [Probe("label", ok, trial.told(), "" if ok else "docs/errors.md lists failures and what helps")]
    probes += [_guarded("price", partial(price, spec, trial))] if ok else []
    return Finding("trial", tuple(probes), CampaignError, ("label", "settings")), trial_doubts(trial)


def _guarded(name: str, look: Callable[[], str]) -> Probe:
    """What `look` says, or the error it meets, as a probe."""
    try:
        return Probe(name, True, look())
    except MagflowError as error:
        seen = f" (seen {error.seen}, expected {error.expected})" if error.expected else ""
        where = f"{error.where}: " if error.where else ""
        return Probe(name, False, f"{where}{error.message}{seen}", error.hint or "")


def _structures(spec: CampaignSpec) -> list[Probe]:
    return [_guarded(f"prototype {s.name}", partial(_prototype, spec, s)) for s in spec.system.prototypes]


def _prototype(spec: CampaignSpec, settings: PrototypeSettings) -> str:
    system = spec.system
    built = build_prototypes([settings], system.elements, Path(), system.moments)
    nearest = min(nearest_distance(p.frame) for p in built)
    if nearest < spec.select.sanity.min_distance:
        raise InputError(
            "atoms are closer than select.sanity.min_distance",
            seen=f"{nearest:.3f} A",
            expected=f"at least {spec.select.sanity.min_distance:g} A",
            hint="look at the lattice constant and at the unit of the file (A)",
        )
    frames = sample(built, spec.explore.domain, system.moments, _TRIALS, spec.seed)
    _require_computable(spec, [c.frame for c in frames])
    closest = min(nearest_distance(c.frame) for c in frames)
    orders = ", ".join(dict.fromkeys(str(p.ordering) for p in built))
    frame = built[0].frame
    return f"{frame.formula}, {orders}; nearest atoms {nearest:.2f} A, in the domain down to {closest:.2f} A"


def _require_computable(spec: CampaignSpec, frames: Sequence[Frame]) -> None:
    """Raise InputError if the engine refuses some of `frames`."""
    engine = spec.engine()
    if not isinstance(engine, RefusesFrames):
        return
    reasons = [reason for frame in frames if (reason := engine.refusal(frame)) is not None]
    if reasons:
        raise InputError(f"{spec.label.engine} refuses {len(reasons)} of {len(frames)} frames, the first: {reasons[0]}")


def _labels(spec: CampaignSpec) -> list[Probe]:
    return [_guarded(name, look) for name, look in looks_at_labels(spec)]


def _settings(spec: CampaignSpec) -> list[Probe]:
    looks = {
        "moments": _moments,
        "elements": _elements,
        "targets": _targets,
        "ensemble": _ensemble,
        "budget": _budget,
    }
    if spec.transfer is not None:
        looks |= {"transfer": _transfer}
    return [_guarded(name, partial(look, spec)) for name, look in looks.items()]


def _moments(spec: CampaignSpec) -> str:
    if spec.engine().kind == LabelKind.NON_MAGNETIC:
        return "labels are non-magnetic"
    missing = sorted((set(spec.system.elements) & USUALLY_MAGNETIC) - set(spec.system.moments))
    if missing:
        raise InputError(
            "an element that usually carries a moment has no range",
            where="system.moments",
            seen=f"nothing for {', '.join(missing)}",
            expected="a range of |m| in muB",
            hint=f"write `{missing[0]}: [0, 0]` if it is to carry none",
        )
    for prototype in spec.system.prototypes:
        if PrototypeOrdering.NM in prototype.orderings:
            raise InputError(
                "a frame without moments cannot be labelled with constrained or free moments",
                where=f"prototype {prototype.name}",
                seen="ordering NM",
                expected="magnetic orderings (moments down to zero belong to them)",
                hint="drop NM, or set label.settings.kind: non-magnetic",
            )
    ranges = (f"{element} {low:g} to {high:g}" for element, (low, high) in sorted(spec.system.moments.items()))
    return "|m| in muB: " + (", ".join(ranges) or "none")


def _elements(spec: CampaignSpec) -> str:
    try:
        built = build_prototypes(spec.system.prototypes, spec.system.elements, Path(), spec.system.moments)
    except InputError:  # told by the probe of that prototype
        return ", ".join(spec.system.elements) + "; not compared with the prototypes, which cannot all be built"
    unused = sorted(set(spec.system.elements) - {s for p in built for s in p.frame.species})
    if unused:
        raise InputError(
            "an element is in no prototype",
            where="system.elements",
            seen=", ".join(unused),
            expected="elements that occur",
            hint="add a prototype that holds it, or remove it",
        )
    return ", ".join(spec.system.elements)


def _targets(spec: CampaignSpec) -> str:
    targets = spec.targets()
    if not targets and spec.select.trust == "auto" and spec.select.strategy is not Strategy.RANDOM:
        raise InputError(
            "trust: auto takes its levels from the targets, and there are none",
            where="stop.targets",
            expected="at least one target, or trust levels under select.trust",
        )
    if "magnetic_forces" in targets and not spec.family().magnetic:
        return (
            f"{', '.join(targets)}; {spec.train.family} predicts no magnetic forces: the campaign ends with its budget"
        )
    if not targets:
        return "none: the campaign ends with its budget"
    return f"{', '.join(targets)}; {_earliest(spec)}"


def _earliest(spec: CampaignSpec) -> str:
    """How many labels it takes until the random ones among them show that the targets are reached."""
    select, tells = spec.select, isinstance(spec.family(), TellsUnseen)
    needed = labels_needed(WITHIN, UNSEEN_SCATTER if tells else SCATTER)
    share = 0.0 if select.strategy is Strategy.RANDOM else select.random_share
    of_batch = round(share * select.batch)
    if needed is None or not of_batch:
        return "no label is drawn at random: the campaign stops on them once hard frames are predicted within them"
    first, from_first = (0, 0) if spec.labels else (select.initial, round(share * select.initial))
    if not tells:
        from_first = 0
    more = max(0, -(-(needed - from_first) // of_batch)) + spec.stop.consecutive - 1
    labels = first + select.batch * more
    return f"errors {WITHIN:g} times smaller are known to be within them after {labels} labels, {needed} of them random"


def _ensemble(spec: CampaignSpec) -> str:
    train = spec.train
    if train.uncertainty is not Uncertainty.ENSEMBLE or spec.select.strategy is not Strategy.RANDOM:
        require_told(train.uncertainty, spec.family(), train.ensemble)
    return f"{plural(train.ensemble, 'member')}, deviation: {train.uncertainty}"


def _budget(spec: CampaignSpec) -> str:
    batch, labels = spec.select.batch, loop_rules(spec).labels
    key = "select.batch" if spec.labels else "select.initial"  # an ensemble on labels that exist chooses a batch
    initial = batch if spec.labels else spec.select.initial
    if labels is not None and labels < initial:
        raise InputError(
            "the first iteration alone takes more labels than the campaign may compute",
            where=key,
            seen=f"{initial} of {labels}",
            expected=f"at most stop.labels ({labels})"
            if spec.phonons is None
            else f"at most stop.labels without the labels for force constants ({labels})",
        )
    if initial + batch > spec.explore.candidates:
        raise InputError(
            "fewer frames are offered than are to be labelled",
            where="explore.candidates",
            seen=spec.explore.candidates,
            expected=f"well above select.initial and select.batch ({initial}, {batch})",
        )
    iterations = None if labels is None else 1 + -(-(labels - initial) // batch)
    if spec.stop.iterations is not None:
        iterations = min(spec.stop.iterations, iterations or spec.stop.iterations)
    return f"{initial} labels, then {batch} per iteration" + (
        f"; at most {iterations} iterations" if iterations else ""
    )


def _transfer(spec: CampaignSpec) -> str:
    transfer = spec.transfer
    if transfer is None:
        return "none"
    share = transfer.share(spec.engine(), spec.family())
    again = f"{100 * share:.3g} % of them learnt from again" if share else "not learnt from again"
    return f"{transfer.non_magnetic} non-magnetic labels, {again}; {transfer.test} held-out magnetic ones"


def _phonons(spec: CampaignSpec) -> tuple[Probe, ...]:
    looks = {"learns them": _learns, "crystals": _displaced}
    return tuple(_guarded(name, partial(look, spec)) for name, look in looks.items())


def _learns(spec: CampaignSpec) -> str:
    asked = spec.phonons
    if asked is None:
        return "none"
    asked.check_moments(spec.engine(), spec.family())
    weight = asked.family(spec.family()).force_constant_weight
    return f"{spec.train.family}, weight {weight:g}; of the stress x {asked.stress:g}, of forces x {asked.forces:g}"


def _displaced(spec: CampaignSpec) -> str:
    if spec.phonons is None:
        return "none"
    wanted, found = labels_wanted(spec), crystals(spec, spec.phonons)
    largest = max(len(frame) * a * b * c for _, frame, (a, b, c) in found)
    return f"{plural(len(found), 'crystal')} of up to {plural(largest, 'atom')}, {plural(sum(wanted), 'label')}"


def _store(spec: CampaignSpec, directory: Path) -> list[Probe]:
    if spec.store is None:
        return [_guarded("store", lambda: _embedded(directory))]
    return [_guarded("store", partial(_contacted, spec.store.description()))]


def _contacted(description: dict[str, Any]) -> str:
    """Connect to a store that is not embedded."""
    store = job_store_from_description(description)
    stores = (store.docs_store, *additional_stores(store).values())
    if files := [str(path) for one in stores if isinstance(one, JSONStore) for path in one.paths]:
        return f"JSONStore, in {', '.join(files)}"  # which connecting would write
    store.connect()
    if not isinstance(store, MongoJobStore):
        return f"{type(store.docs_store).__name__}, {store.count()} documents"
    answer = require_connection(store)
    missing = sum(len(indexes) for _, indexes in missing_indexes(store))
    return f"{answer}, {store.count()} documents" + (f"; {missing} indexes will be created" if missing else "")


def _embedded(directory: Path) -> str:
    existing = next(p for p in (directory.absolute(), *directory.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise StoreError(
            "the directory cannot be written",
            where=str(existing),
            hint="choose another one with --dir",
        )
    refuse_network_file_system(str(existing))
    return f"embedded, in {directory}"
