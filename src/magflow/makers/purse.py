"""What a campaign may still pay for labels beside its loop."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from jobflow import JobStore

from magflow.makers.documents import BatchDoc, Purpose


@dataclass
class Purse:
    """Labels that count, and what they may come to.

    Parameters
    ----------
    known
        label_ids that have been paid: those of the loop and those beside it that count as they do.
    core_hours
        Spent on the latter.
    most, most_core_hours
        Labels of both together, core-hours of the latter; None: no limit.
    """

    known: set[str]
    core_hours: float
    most: int | None
    most_core_hours: float | None

    @classmethod
    def of(cls, store: JobStore | None, campaign: str, most: int | None, most_core_hours: float | None) -> Purse:
        """As the labels of a campaign in `store` say."""
        criteria = {"output.doc_type": "label", "output.campaign": campaign}
        fields = ["output.purpose", "output.label_id", "output.core_hours"]
        found = [] if store is None else [d["output"] for d in store.query(criteria, fields)]
        counted = {str(Purpose.CAMPAIGN), str(Purpose.PHONON)}
        known = {d["label_id"] for d in found if str(d.get("purpose", Purpose.CAMPAIGN)) in counted}
        hours = sum(d["core_hours"] for d in found if d.get("purpose") == Purpose.PHONON)
        return cls(known, hours, most, most_core_hours)

    def count(self, loop: Iterable[BatchDoc], beside: Iterable[BatchDoc]) -> None:
        """Take labels in that a job which reaches no store cannot look up: of the loop, and beside it."""
        for batch in beside:
            self.core_hours += batch.core_hours
        for batch in (*loop, *beside):
            self.known |= {*batch.label_ids, *batch.failed}

    def pay(self, labels: Collection[str]) -> str:
        """Take labels by their ids; if they cannot be paid, why. Labels that are known cost nothing."""
        new = set(labels) - self.known
        if new and self.most is not None and len(self.known) + len(new) > self.most:
            return f"{len(self.known)} of stop.labels: {self.most} are spent, and it takes {len(new)} more"
        if new and self.most_core_hours is not None and self.core_hours >= self.most_core_hours:
            return f"{self.core_hours:.2f} of phonons.core_hours: {self.most_core_hours:g} are spent"
        self.known |= new
        return ""
