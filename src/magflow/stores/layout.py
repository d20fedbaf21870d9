"""How a job store is laid out: its file and its parts, the fields that are indexed or have a column.

Whoever reads needs no more of it, and neither jobflow nor maggma.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from jobflow import JobStore

    from magflow.stores.embedded import EmbeddedDocuments

ReadableStore: TypeAlias = "JobStore | EmbeddedDocuments"
"""What queries read: a store of jobflow, or the tables of an embedded one themselves."""

DATABASE = "campaign.db"
"""File name of the embedded store and queue within the campaign's directory."""

DATA = "data"
"""Name of the additional store that holds arrays."""

DOCUMENT_FIELDS = (
    "uuid",
    "index",
    "name",
    "completed_at",
    "metadata.campaign",
    "output.campaign",
    "output.doc_type",
    "output.iteration",
    "output.label_id",
    "output.frame_id",
    "output.state",
)
"""Fields of task documents that queries filter and sort by; indexed in every store."""

DOCUMENT_SCALARS = (
    "output.format",
    "output.purpose",
    "output.failure",
    "output.suspects",
    "output.formula",
    "output.ordering",
    "output.source",
    "output.energy_per_atom",
    "output.volume_per_atom",
    "output.force_max",
    "output.moment_total",
    "output.moment_max",
    "output.magnetic_force_max",
    "output.pressure_gpa",
    "output.cpu_seconds",
    "output.core_hours",
)
"""Fields of labels and batches that are filtered and sorted by; columns without an index in the embedded store."""

LABEL_SUMMARY = tuple(
    f"output.{name}"
    for name in (
        *("doc_type", "campaign", "purpose", "label_id", "state", "failure", "core_hours", "cpu_seconds", "format"),
    )
)
"""What the status of a campaign reads of every label; one index in the embedded store."""

BLOB_FIELDS = ("blob_uuid", "job_uuid", "job_index")


def additional_stores(store: ReadableStore) -> dict[str, Any]:
    """The stores beside that of the documents, by name."""
    stores: dict[str, Any] = store.additional_stores  # type: ignore[has-type]  # jobflow derives it from itself
    return stores
