"""The embedded store of a campaign as tables: for who reads it without jobflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from magflow.stores.layout import (
    BLOB_FIELDS,
    DATA,
    DATABASE,
    DOCUMENT_FIELDS,
    DOCUMENT_SCALARS,
    LABEL_SUMMARY,
)
from magflow.stores.table import DocumentTable
from magflow.stores.tally import keep_sums

Made = TypeVar("Made", bound=DocumentTable)


@dataclass(frozen=True)
class EmbeddedDocuments:
    """The tables of an embedded store, where :class:`jobflow.JobStore` has its stores."""

    docs_store: DocumentTable
    additional_stores: dict[str, DocumentTable]

    @property
    def name(self) -> str:
        """For people; as that of the JobStore."""
        return f"JobStore-{self.docs_store.name}"


def embedded_documents(directory: str | Path) -> EmbeddedDocuments:
    """The documents of the campaign in `directory`, whose store is embedded.

    Raises
    ------
    StoreError
        If the store cannot be opened.
    """
    docs, data = embedded_tables(DocumentTable, directory)
    docs.connect()
    data.connect()
    keep_sums(docs)
    return EmbeddedDocuments(docs, {DATA: data})


def embedded_tables(make: Callable[..., Made], directory: str | Path, synchronous: str = "FULL") -> tuple[Made, Made]:
    """The tables of documents and of arrays of the campaign in `directory`, as `make` makes one."""
    path = str((Path(directory) / DATABASE).absolute())
    docs = make(
        path,
        fields=DOCUMENT_FIELDS,
        scalars=DOCUMENT_SCALARS,
        together=(LABEL_SUMMARY,),
        synchronous=synchronous,
    )
    return docs, make(path, "blobs", key="blob_uuid", fields=BLOB_FIELDS, synchronous=synchronous, compress=True)
