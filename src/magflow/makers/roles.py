"""What each job of a campaign is; its uuid, its name for people and its metadata follow from that, here and only here.

The uuid is a hash of the campaign's id and a few words, the same whenever the same campaign makes the job, so that
submitting again is harmless. The words are part of every store there is: they never change. Names are for people;
programs read the :class:`Tag` in the metadata.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from magflow.makers.documents import Purpose

CAMPAIGN = "campaign"
"""Key of a job's metadata that holds the id of its campaign: whose document its output is."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "magflow")


class Category(StrEnum):
    """Kinds of work, for executors that send them to different resources; kept in ``job.metadata["category"]``."""

    DFT = "dft"
    TRAIN = "train"
    MD = "md"
    LIGHT = "light"


class Phase(StrEnum):
    """What a job does for its campaign, in the order of an iteration."""

    IMPORT = "import"
    DRAW = "draw"
    PRETRAIN = "pretrain"
    START = "start"
    EXPLORE = "explore"
    SELECT = "select"
    LABEL = "label"
    COLLECT = "collect"
    TRAIN = "train"
    ASSESS = "assess"
    CONTROL = "control"
    COMPARE = "compare"
    ADVANCE = "advance"
    STOP = "stop"
    TUNE = "tune"
    VALIDATE = "validate"


@dataclass(frozen=True)
class Tag:
    """What the metadata of a job say about it.

    Parameters
    ----------
    phase, category
        What it does, and what it needs for that.
    iteration
        Counted from 0; of work beside the loop 0.
    member
        Of the ensemble, where it fits one.
    purpose
        What its labels are for, where it is about labels.
    """

    phase: Phase
    category: Category
    iteration: int = 0
    member: int | None = None
    purpose: Purpose | None = None

    def as_metadata(self) -> dict[str, Any]:
        """JSON-ready; what is None is left out."""
        found = {
            "phase": str(self.phase),
            "category": str(self.category),
            "iteration": self.iteration,
            "member": self.member,
            "purpose": None if self.purpose is None else str(self.purpose),
        }
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def read(cls, metadata: Mapping[str, Any], name: str) -> Tag | None:
        """Of a job with these metadata; `name` is looked at for jobs of magflow 0.1, which had a category alone.

        None for a job that is not of a campaign.
        """
        if "phase" not in metadata:
            return _of_first_release(metadata, name)
        purpose = metadata.get("purpose")
        return cls(
            Phase(metadata["phase"]),
            Category(metadata["category"]),
            metadata["iteration"],
            metadata.get("member"),
            None if purpose is None else Purpose(purpose),
        )


_FIRST_RELEASE = re.compile(
    r"(?P<phase>[a-z]+)(?: batch)?(?: (?P<iteration>\d+)(?:\.(?P<member>\d+))?| (?P<purpose>.+)|(?<=stop))"
)


def _of_first_release(metadata: Mapping[str, Any], name: str) -> Tag | None:
    """From a name such as ``train 2.0``, ``label batch 1`` or ``draw pre-training``."""
    found = _FIRST_RELEASE.fullmatch(name)
    if found is None or found["phase"] not in list(Phase):
        return None
    if found["purpose"] is not None and found["purpose"] not in list(Purpose):
        return None
    return Tag(
        Phase(found["phase"]),
        Category(metadata.get("category", Category.LIGHT)),
        int(found["iteration"] or 0),
        None if found["member"] is None else int(found["member"]),
        None if found["purpose"] is None else Purpose(found["purpose"]),
    )


@dataclass(frozen=True)
class Role:
    """One job of a campaign: its name for people, its tag, and the words of its uuid."""

    title: str
    tag: Tag
    words: tuple[object, ...]

    def uuid(self, campaign: str) -> str:
        """The uuid of the job in the campaign of this id."""
        return str(uuid.uuid5(_NAMESPACE, "/".join((campaign, *map(str, self.words)))))


def explore(iteration: int, *, dynamics: bool) -> Role:
    """Offers the frames of an iteration; without `dynamics` it is a matter of seconds."""
    category = Category.MD if dynamics else Category.LIGHT
    return Role(f"explore {iteration}", Tag(Phase.EXPLORE, category, iteration), ("explore", iteration))


def select(iteration: int) -> Role:
    """Chooses among them."""
    return Role(f"select {iteration}", Tag(Phase.SELECT, Category.LIGHT, iteration), ("select", iteration))


def batch(iteration: int) -> Role:
    """Is replaced by the labels of an iteration; its output is their batch."""
    tag = Tag(Phase.LABEL, Category.LIGHT, iteration, purpose=Purpose.CAMPAIGN)
    return Role(f"label batch {iteration}", tag, ("batch", iteration))


def batch_beside(purpose: Purpose, iteration: int = 0, which: str = "") -> Role:
    """The same for the labels beside the loop; `which` tells batches of one purpose apart."""
    tag = Tag(Phase.LABEL, Category.LIGHT, iteration, purpose=purpose)
    return Role(f"label batch {purpose}", tag, ("batch", purpose, *_which(which)))


def draw(purpose: Purpose, iteration: int = 0, which: str = "") -> Role:
    """Draws the frames of such a batch."""
    tag = Tag(Phase.DRAW, Category.LIGHT, iteration, purpose=purpose)
    return Role(f"draw {purpose}", tag, ("draw", purpose, *_which(which)))


def _which(which: str) -> tuple[str, ...]:
    return (which,) if which else ()


def measure(iteration: int, structure: str, name: str, settings: str, *, dft: bool = False) -> Role:
    """A property of a structure on the ensemble of an iteration, or from `dft`; `settings` is a digest of all else."""
    category = Category.LIGHT if dft else Category.MD
    title = f"validate {structure} {name}{' DFT' if dft else ''}"
    words = ("measure", iteration, structure, name, settings, *(("dft",) if dft else ()))
    return Role(title, Tag(Phase.VALIDATE, category, iteration), words)


def label(iteration: int, number: int, purpose: Purpose, attempts: int | None = None, which: str = "") -> Role:
    """One label of a batch; of one that is offered again, the `attempts` made before it tell it apart."""
    tag = Tag(Phase.LABEL, Category.DFT, iteration, purpose=purpose)
    return Role(f"label {iteration}", tag, ("label", iteration, *_apart(purpose, attempts), *_which(which), number))


def static(iteration: int, frame_id: str, purpose: Purpose) -> Role:
    """The calculation of a label by another package's Maker."""
    tag = Tag(Phase.LABEL, Category.DFT, iteration, purpose=purpose)
    return Role(f"label {iteration}", tag, ("static", *_apart(purpose), iteration, frame_id))


def to_label(iteration: int, frame_id: str, purpose: Purpose) -> Role:
    """Turns its task document into a label."""
    tag = Tag(Phase.LABEL, Category.LIGHT, iteration, purpose=purpose)
    return Role(f"label {iteration}", tag, ("to-label", *_apart(purpose), iteration, frame_id))


def collect(iteration: int, purpose: Purpose, attempts: int | None = None, which: str = "") -> Role:
    """Gathers the labels of a batch."""
    tag = Tag(Phase.COLLECT, Category.LIGHT, iteration, purpose=purpose)
    return Role(f"collect {iteration}", tag, ("collect", iteration, *_apart(purpose, attempts), *_which(which)))


def take_in(which: str) -> Role:
    """Is replaced by the labels of the campaign file's `labels`, `which` of them; its output is their batch."""
    tag = Tag(Phase.IMPORT, Category.LIGHT, purpose=Purpose.IMPORTED)
    return Role(f"import {which} labels", tag, ("import", which))


def taken(which: str, number: int) -> Role:
    """The document of one of them."""
    return Role("import label", Tag(Phase.IMPORT, Category.LIGHT, purpose=Purpose.IMPORTED), ("taken", which, number))


def collect_taken(which: str) -> Role:
    """Gathers them."""
    tag = Tag(Phase.COLLECT, Category.LIGHT, purpose=Purpose.IMPORTED)
    return Role(f"collect {which} labels", tag, ("collect-taken", which))


def label_of(frame_id: str) -> Role:
    """A label that somebody asked for without a campaign."""
    return Role("label", Tag(Phase.LABEL, Category.DFT, purpose=Purpose.CAMPAIGN), ("label-of", frame_id))


def _apart(purpose: Purpose, attempts: int | None = None) -> tuple[object, ...]:
    """What tells a batch outside the iterations from that of the iteration."""
    if attempts is not None:
        return ("retry", attempts)
    return () if purpose is Purpose.CAMPAIGN else (purpose,)


def stop(iteration: int, moment: str) -> Role:
    """Ends a campaign whose whole batch, gathered at `moment`, has failed."""
    return Role("stop", Tag(Phase.STOP, Category.LIGHT, iteration), ("batch-failed", iteration, moment))


_ENSEMBLES: dict[Phase, tuple[object, ...]] = {
    Phase.TRAIN: (),
    Phase.PRETRAIN: (Purpose.PRETRAINING,),
    Phase.START: ("start",),
    Phase.CONTROL: ("control",),
}


def member(phase: Phase, iteration: int, number: int) -> Role:
    """Fits one member of the campaign's ensemble (TRAIN), of the one it starts from (PRETRAIN: labels of another level
    or kind; START: labels of its own level), of the control.
    """
    tag = Tag(phase, Category.TRAIN, iteration, member=number)
    return Role(f"{phase} {iteration}.{number}", tag, ("train", iteration, *_ENSEMBLES[phase], number))


def displace(iteration: int, which: str) -> Role:
    """Displaces atoms of the crystals of a question about force constants that their labels say are at rest."""
    tag = Tag(Phase.DRAW, Category.LIGHT, iteration, purpose=Purpose.PHONON)
    return Role("displace atoms", tag, ("displace", iteration, which))


def force_constants(iteration: int, which: str, name: str, number: int) -> Role:
    """Reads the force constants of one crystal from its labels."""
    tag = Tag(Phase.COLLECT, Category.LIGHT, iteration, purpose=Purpose.PHONON)
    return Role(f"force constants {name}", tag, ("force-constants", iteration, which, number))


def tuning(iteration: int, which: str) -> Role:
    """Is replaced by the fits of an ensemble to force constants, where there are some."""
    return Role(f"tuning {iteration}", Tag(Phase.TUNE, Category.LIGHT, iteration), ("tuning", iteration, which))


def tune(iteration: int, which: str, turn: int, number: int) -> Role:
    """Goes on with the fit of one member, on force constants; each turn weighs them less than the one before."""
    tag = Tag(Phase.TUNE, Category.TRAIN, iteration, member=number)
    return Role(f"tune {iteration}.{number}", tag, ("tune", iteration, which, turn, number))


def judge_tuning(iteration: int, which: str, turn: int) -> Role:
    """Holds the ensemble against labels and force constants, before and after."""
    tag = Tag(Phase.TUNE, Category.LIGHT, iteration)
    return Role(f"judge {iteration}", tag, ("judge-tuning", iteration, which, turn))


def close(iteration: int, which: str) -> Role:
    """Makes the tuned ensemble that of the outcome."""
    return Role(f"close {iteration}", Tag(Phase.TUNE, Category.LIGHT, iteration), ("close", iteration, which))


def assess(iteration: int) -> Role:
    """Holds the old ensemble against the new labels."""
    return Role(f"assess {iteration}", Tag(Phase.ASSESS, Category.LIGHT, iteration), ("assess", iteration))


def compare(iteration: int) -> Role:
    """Holds ensemble and control against the test labels."""
    return Role(f"compare {iteration}", Tag(Phase.COMPARE, Category.LIGHT, iteration), ("compare", iteration))


def advance(iteration: int, rules: str | None = None) -> Role:
    """Decides whether to go on; once more, where `rules` is the digest of stop rules that were changed."""
    again = () if rules is None else ("continue", rules)
    return Role(f"advance {iteration}", Tag(Phase.ADVANCE, Category.LIGHT, iteration), ("advance", iteration, *again))
