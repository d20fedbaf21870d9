"""Prints docs/documents.md: every kind of document in a campaign's store, from the models that write them."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getdoc

from campaign_reference import kind
from magflow.makers import documents, tuning_documents
from magflow.makers.documents import CampaignDocument
from page_text import escaped, filled

HEAD = """# Documents in the store

What the jobs of a campaign leave is one document each, below `output` of what jobflow keeps of the job, in the SQLite
file of a campaign as in MongoDB. `magflow query` and the [Python interface](python.md) show most of it; who writes
queries of their own finds here what a field means. Units are those of the [conventions](conventions.md) unless a name
says otherwise.

`doc_type` tells the kinds apart. Scalars can be queried; frames, forces and models are in `arrays`, which jobflow
moves to the store `data`, as text without pickle (`magflow.core.arrays` reads it).

Every kind counts its formats. An older document is brought up to date when it is read; one of a newer magflow is
refused by name; fields a reader does not know it ignores.

(This page is printed by `scripts/documents_page.py`; a test keeps the two equal.)
"""

KINDS = [
    document
    for module in (documents, tuning_documents)
    for document in vars(module).values()
    if isinstance(document, type) and document in set(CampaignDocument.__subclasses__())
]
"""In the order of their modules."""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Every document\n", fields(CampaignDocument, set())]
    for document in KINDS:
        name = kind(document.model_fields["doc_type"].annotation)
        number = document.layout.number
        parts += [f"## {name}\n", filled(f"{getdoc(document)} (`{document.__name__}`, format {number})") + "\n"]
        parts.append(fields(document, {"doc_type", *CampaignDocument.model_fields}))
    return "\n".join(parts)


def fields(document: type[CampaignDocument], passed: set[str]) -> str:
    """A Markdown list of the fields, without those passed over."""
    return "\n".join(_items(document, passed)) + "\n"


def _items(document: type[CampaignDocument], passed: set[str]) -> Iterator[str]:
    for name, field in document.model_fields.items():
        if name not in passed:
            meaning = f": {escaped(field.description)}" if field.description else ""
            yield filled(f"- `{name}` ({kind(field.annotation)}){meaning}", "  ")


if __name__ == "__main__":
    print(page(), end="")
