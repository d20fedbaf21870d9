"""Results on their way to a database: kept in the run directory until the database has acknowledged them.

A worker that dies, or a database that stays away, then loses nothing that was computed: ``magflow sync`` imports
what it finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import json_util
from jobflow import CURRENT_JOB, JobStore
from monty.json import jsanitize

from magflow.core.files import replace_file
from magflow.core.versions import Format, NewerFormatError, read_stamped
from magflow.errors import StoreError
from magflow.makers.documents import LabelDoc

SUFFIX = ".result.json"
"""Of the file that holds one result: documents and where their arrays go, in MongoDB's extended JSON."""

RESULT: Format[dict[str, Any]] = Format("result")
"""Of the content of such a file."""

_log = logging.getLogger(__name__)
_directory: ContextVar[Path | None] = ContextVar("results_directory", default=None)


@contextmanager
def results_kept_in(directory: Path) -> Iterator[None]:
    """Within the block, results are kept in `directory`. Without it, those of a running job are kept where it runs."""
    token = _directory.set(directory)
    try:
        yield
    finally:
        _directory.reset(token)


@contextmanager
def kept_until_stored(documents: Sequence[Any], key: Any, save: Any) -> Iterator[None]:
    """Keep `documents` in a file of the run directory, if there is one, until the block has stored them."""
    path = _write(documents, key, save)
    try:
        yield
    except StoreError as error:
        if path is not None:
            error.hint = f"the result is kept in {path}: `magflow sync` imports it"
        raise
    if path is not None:
        path.unlink(missing_ok=True)


def _write(documents: Sequence[Any], key: Any, save: Any) -> Path | None:
    directory = _directory.get()
    if directory is None:
        if CURRENT_JOB.job is None:
            return None
        directory = Path.cwd()
    plain = [jsanitize(d, strict=True, allow_bson=True) for d in documents]
    path = result_file(directory, plain[0]["uuid"], plain[0]["index"])
    text = json_util.dumps(RESULT.stamp | {"magflow_result": 1, "documents": plain, "key": key, "save": save})
    try:
        replace_file(path, text.encode())
    except StoreError as error:  # a full disk must not keep the result from the database
        _log.warning("the result is not kept on disk: %s", error)
        return None
    return path


@dataclass(frozen=True)
class Synced:
    """What :func:`sync_results` found: results imported, results the store had, files that cannot be read."""

    imported: int
    present: int
    unreadable: tuple[str, ...]


def result_file(directory: Path, uuid: str, index: int) -> Path:
    """Where in `directory` the result of one job is kept."""
    return directory / f"{uuid}-{index}{SUFFIX}"


def find_results(roots: Sequence[Path]) -> list[Path]:
    """The files of results below `roots`, oldest first."""
    found = {path for root in roots for path in root.rglob(f"*{SUFFIX}")}
    return sorted(found, key=lambda path: path.stat().st_mtime)


def sync_results(
    store: JobStore,
    paths: Sequence[Path],
    *,
    keep: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Synced:
    """Import the results in `paths` that `store` lacks; doing it again changes nothing.

    A result is there already if the store holds its job's document, or a usable label of the same label_id.

    Parameters
    ----------
    keep
        Leave the files; otherwise those whose result is in the store are removed.
    progress
        Called after each file with the number of files done.
    """
    imported = present = 0
    unreadable = []
    for done, path in enumerate(paths, 1):
        content = _read(path)
        if content is None:
            unreadable.append(str(path))
        else:
            documents = [d for d in content["documents"] if not _holds(store, d)]
            if documents:
                store.update(documents, key=content["key"], save=content["save"])
                imported += 1
            else:
                present += 1
            if not keep:
                with suppress(OSError):
                    path.unlink()
        if progress is not None:
            progress(done)
    return Synced(imported, present, tuple(unreadable))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json_util.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(content, dict) and content.get("magflow_result") == 1 and content.get("documents")
        return read_stamped(RESULT, content, str(path)) if whole else None
    except (OSError, ValueError, TypeError, StoreError, NewerFormatError) as error:
        _log.warning("a result is left where it is: %s", error)
        return None


def _holds(store: JobStore, document: dict[str, Any]) -> bool:
    if store.query_one({"uuid": document["uuid"], "index": document["index"]}, properties=["uuid"]) is not None:
        return True
    output = document.get("output")
    if not isinstance(output, dict) or output.get("doc_type") != "label" or output.get("state") != "ok":
        return False
    return store.query_one(LabelDoc.usable(output["label_id"]), properties=["uuid"]) is not None
