"""maggma builders: from labels to datasets, models and iterations, one summary per iteration of a campaign.

A builder reads task documents and writes summaries into a collection of their own. It is incremental: an iteration is
summarised again only if documents of it have come, gone or been replaced since. It can run beside a campaign, by
``magflow db summarise`` or by maggma's own ``mrun``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jobflow import JobStore
from maggma.core import Builder, Store
from maggma.stores import MemoryStore

from magflow.stores import queries
from magflow.stores.mongo import Documents, MongoJobStore
from magflow.stores.sqlite import SQLiteStore

SUMMARY_FIELDS = ("campaign", "iteration")
_VERSION = 1
_Group = tuple[str, int]


def summary_store(store: JobStore) -> Store:
    """Where the summaries of a job store's campaigns are: beside its documents, connected."""
    if isinstance(store.docs_store, SQLiteStore):
        found: Store = SQLiteStore(store.docs_store.path, "summaries", key="key", fields=SUMMARY_FIELDS)
    elif isinstance(store, MongoJobStore):
        found = Documents(store.address, "_summaries", key="key")
    else:
        found = MemoryStore(key="key")
    found.connect()
    return found


class IterationSummaries(Builder):
    """One summary per iteration: its labels, the dataset they grew, the models fitted to it, the errors found.

    Parameters
    ----------
    store
        Job store of one or more campaigns.
    summaries
        Where summaries go; None: beside the documents.
    campaign
        Only iterations of this campaign; None: of all.
    """

    def __init__(
        self, store: JobStore, summaries: Store | None = None, campaign: str | None = None, chunk_size: int = 20
    ) -> None:
        self.store, self.campaign = store, campaign
        self.summaries = summaries if summaries is not None else summary_store(store)
        self.total: int | None = None
        super().__init__(sources=[store], targets=[self.summaries], chunk_size=chunk_size)

    def get_items(self) -> Iterator[dict[str, Any]]:
        """The iterations whose documents are not those that their summary was made of."""
        self.summaries.ensure_index("key")
        mine = {} if self.campaign is None else {"campaign": self.campaign}
        known = {(d["campaign"], d["iteration"]): d for d in self.summaries.query(mine)}
        present = self._present()
        changed = [g for g, made_of in present.items() if known.get(g, {}).get("made_of") != made_of]
        self.total = len(changed)
        for campaign, iteration in sorted(changed):
            at = {"output.campaign": campaign, "output.iteration": iteration}
            documents = list(self.store.docs_store.query(at))
            yield {"documents": documents, "made_of": present[campaign, iteration]}

    def _present(self) -> dict[_Group, dict[str, Any]]:
        """Number of documents of each iteration and the time of its latest."""
        fields = ("output.campaign", "output.iteration", "completed_at")
        criteria = {"output.campaign": self.campaign} if self.campaign else {"output.doc_type": {"$gt": ""}}
        numbers: Counter[_Group] = Counter()
        latest: dict[_Group, str] = {}
        for campaign, iteration, completed in queries.values(self.store, criteria, fields):
            numbers[campaign, iteration] += 1
            latest[campaign, iteration] = max(latest.get((campaign, iteration), ""), completed or "")
        return {g: {"version": _VERSION, "documents": n, "latest": latest[g]} for g, n in numbers.items()}

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """The summary of one iteration."""
        outputs = [(d["uuid"], queries.present(d["output"])) for d in item["documents"]]
        first = outputs[0][1]
        by_type: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for uuid, output in outputs:
            by_type.setdefault(output.get("doc_type", ""), []).append((uuid, output))
        assessed = [output for _, output in by_type.get("iteration", [])]
        return {
            "key": f"{first['campaign']}/{first['iteration']}",
            "campaign": first["campaign"],
            "iteration": first["iteration"],
            "labels": _labels([output for _, output in by_type.get("label", [])]),
            "datasets": _datasets([output for _, output in by_type.get("model", [])]),
            "models": [_model(uuid, output) for uuid, output in by_type.get("model", [])],
            "assessment": _assessment(assessed[-1]) if assessed else None,
            "made_of": item["made_of"],
        }

    def finalize(self) -> None:
        """Leave the stores open: they are not the builder's."""

    def update_targets(self, items: list[dict[str, Any]]) -> None:
        """Write summaries in place of those of the same iterations."""
        self.summaries.update(items, key="key")


def update_summaries(builder: IterationSummaries, progress: Callable[[int, int], None] | None = None) -> int:
    """Run `builder` in this thread; returns the number of iterations summarised anew."""
    done = 0
    for item in builder.get_items():
        builder.update_targets([builder.process_item(item)])
        done += 1
        if progress is not None:
            progress(done, builder.total or done)
    return done


def _labels(outputs: list[Mapping[str, Any]]) -> dict[str, Any]:
    usable = {d["label_id"] for d in outputs if d["state"] == "ok"}
    failed = {d["label_id"]: d["failure"] for d in outputs if d["state"] == "failed" and d["label_id"] not in usable}
    return {
        "label_ids": sorted(usable),
        "usable": len(usable),
        "failures": dict(Counter(map(str, failed.values()))),
        "reused": sum(bool(d["reused"]) for d in outputs),
        "core_hours": sum(d["core_hours"] for d in outputs),
        "levels_of_theory": sorted({d["level_of_theory_id"] for d in outputs}),
    }


def _datasets(models: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The training sets of the models: fingerprint, size, and which members learnt from each."""
    found: dict[str, dict[str, Any]] = {}
    for model in sorted(models, key=lambda m: m["member"]):
        entry = found.setdefault(model["dataset"], {"dataset": model["dataset"], "labels": model["n_labels"]})
        entry.setdefault("members", []).append(model["member"])
    return list(found.values())


def _model(uuid: str, output: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("member", "family", "dataset", "n_labels", "converged", "rmse", "cpu_seconds")
    return {"uuid": uuid} | {name: output[name] for name in kept}


def _assessment(output: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("offered", "selected", "labels_total", "rmse", "train_rmse", "within_target", "core_hours_total", "stop")
    return {name: output[name] for name in kept}
