"""The directory of a campaign: its file, its store, what it leaves for people."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from magflow.campaign.lock import campaign_lock, is_running
from magflow.campaign.outline import CampaignOutline
from magflow.campaign.source import Source, read_source
from magflow.campaign.storing import StoreSpec
from magflow.core.credentials import remember
from magflow.core.files import replace_file
from magflow.core.versions import Format, read_stamped
from magflow.errors import CampaignError, InputError, StoreError
from magflow.stores.embedded import embedded_documents
from magflow.stores.layout import DATABASE, ReadableStore

if TYPE_CHECKING:
    from jobflow import JobStore

    from magflow.campaign.schema import CampaignSpec

FILE = "campaign.yaml"
IDENTITY = "campaign.json"
REPORT = "report.html"
MODELS = "models"
UNTUNED = "models-untuned"

IDENTITY_LAYOUT: Format[dict[str, Any]] = Format("campaign")
"""Of ``campaign.json``."""

_IDENTITY_KEYS = ("id", "name", "structures")
_PHONON_LABELS = "phonon_labels"
"""Key of the identity: how many labels for force constants a campaign file wants, and the digest of that file."""


@dataclass(frozen=True)
class CampaignDirectory:
    """One campaign on disk.

    Holds ``campaign.yaml`` (a copy of the file as last run), ``campaign.json`` (its identity), ``campaign.db`` (store
    and queue), ``report.html``, ``models/`` and, where these were shown force constants, ``models-untuned/``.
    """

    path: Path

    @classmethod
    def existing(cls, path: Path) -> CampaignDirectory:
        """The campaign in `path`.

        Raises
        ------
        InputError
            If there is none.
        StoreError, NewerFormatError
            As :attr:`identity`.
        """
        if not (path / IDENTITY).is_file():
            raise InputError(
                "no campaign here",
                where=str(path),
                expected=f"a directory that holds {IDENTITY}",
                hint="`magflow run FILE --dir DIR` makes one",
            )
        here = cls(path)
        here.identity  # noqa: B018 - nothing is read of a campaign that this magflow does not understand
        return here

    @classmethod
    def prepare(cls, path: Path, file: Path, spec: CampaignSpec) -> CampaignDirectory:
        """Make the directory, or take up the campaign in it if it is the same.

        An identity that was left empty or damaged, by a full disk say, is written anew if the store is this campaign's.
        While a process runs the campaign, no other replaces its file.

        Raises
        ------
        CampaignError
            If it belongs to another campaign: another question, engine, family or seed; or another process runs it, by
            another file.
        StoreError
            If it cannot be written.
        """
        here = cls(path)
        known = all((path / name).is_file() for name in (FILE, IDENTITY))
        if known and (path / FILE).read_bytes() == file.read_bytes() and is_running(path):
            return cls.existing(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error.strerror) from error
        with campaign_lock(path):
            here._take_up(file, spec)
        return here

    def _take_up(self, file: Path, spec: CampaignSpec) -> None:
        """Write file and identity; under the lock."""
        found = self._known_identity()
        identity = {"id": self._id_of(spec, found), "name": spec.name, "structures": str(file.resolve().parent)}
        if found is not None and self.path.resolve() == file.resolve().parent:
            identity["structures"] = found["structures"]
        identity |= IDENTITY_LAYOUT.stamp
        try:
            content = file.read_bytes()
            self._check_same(found, identity, file)
            identity |= _counted(spec, content)
            if file.resolve() != (self.path / FILE).resolve():
                replace_file(self.path / FILE, content)
            replace_file(self.path / IDENTITY, json.dumps(identity, indent=1).encode())
        except (OSError, StoreError) as error:
            raise _unwritable(self.path, error.message if isinstance(error, StoreError) else error.strerror) from error

    def _id_of(self, spec: CampaignSpec, found: dict[str, Any] | None) -> str:
        """Id of the campaign that `spec` describes: that of the one here, if it is described as that one was.

        An id holds every setting, those a file leaves out too. A release with one setting more, or another default,
        would find another campaign in the same file.
        """
        from magflow.campaign.build import campaign_id  # all Makers, which who only looks has no need of

        wanted = campaign_id(spec)
        if found is None or not (self.path / FILE).is_file():
            return wanted
        described = CampaignDirectory(self.path).spec  # the file here is about to be replaced
        return str(found["id"]) if campaign_id(described) == wanted else wanted

    def _known_identity(self) -> dict[str, Any] | None:
        """The identity; None where there is none, or none that can be read."""
        try:
            return self.identity if (self.path / IDENTITY).is_file() else None
        except StoreError as error:
            if isinstance(error.__cause__, OSError):
                raise
            return None

    def _check_same(self, found: dict[str, Any] | None, wanted: dict[str, Any], file: Path) -> None:
        seen = self._seen_in_store(wanted["id"]) if found is None else f"{found['name']} ({found['id']})"
        if seen is not None and (found is None or found["id"] != wanted["id"]):
            raise CampaignError(
                "this directory holds another campaign",
                where=str(self.path),
                seen=seen,
                expected=f"{wanted['name']} ({wanted['id']}), as {file} describes it",
                hint="choose another directory with --dir; only budgets and the execution section may change",
            )

    def _seen_in_store(self, mine: str) -> str | None:
        """The campaigns whose documents the embedded store holds, if none is of this one."""
        if not (self.path / DATABASE).is_file():
            return None
        others = set(embedded_documents(self.path).docs_store.distinct("metadata.campaign")) - {None}
        return ", ".join(sorted(others)) if others and mine not in others else None

    @property
    def id(self) -> str:
        """Id of the campaign: what its documents are found by in a store that holds several."""
        return str(self.identity["id"])

    @property
    def identity(self) -> dict[str, Any]:
        """Id and name of the campaign, and where relative paths of structure files start.

        Raises
        ------
        StoreError
            If the file is damaged.
        NewerFormatError
            If a newer magflow wrote it, in a format this one does not know.
        """
        file = self.path / IDENTITY
        try:
            content = read_stamped(IDENTITY_LAYOUT, dict(json.loads(file.read_text())), str(file))
            if wrong := [key for key in _IDENTITY_KEYS if not isinstance(content.get(key), str)]:
                raise ValueError(f"no text under {', '.join(wrong)}")
            "".join(content[key] for key in _IDENTITY_KEYS).encode()  # half characters are no text either
            return content
        except (OSError, ValueError, TypeError, RecursionError) as error:
            hint = f"`magflow run FILE --dir {self.path}` with the campaign's own file writes it anew"
            raise StoreError("the campaign's identity cannot be read", where=str(file), hint=hint) from error

    @cached_property
    def spec(self) -> CampaignSpec:
        """The campaign file as last run; structure files are looked up where they were then."""
        from magflow.campaign.load import parse_campaign  # all that a file may hold: the store needs little of it

        return parse_campaign(self._source, str(self.path / FILE)).resolve(Path(self.identity["structures"]))

    @cached_property
    def outline(self) -> CampaignOutline:
        """What of :attr:`spec` the status is about, in a tenth of the time."""
        try:
            return CampaignOutline.of(self._source)
        except ValidationError:
            self.spec  # noqa: B018 - says what is wrong, and in which line
            raise

    @cached_property
    def phonon_labels(self) -> int:
        """How many labels for force constants the campaign wants; counted anew if its file is another by now.

        Raises
        ------
        InputError
            If a prototype cannot be built or there is none of a name.
        """
        kept = self.identity.get(_PHONON_LABELS)
        if isinstance(kept, dict) and kept.get("file") == _digest((self.path / FILE).read_bytes()):
            return int(kept["labels"])
        return _phonon_labels(self.spec)

    @cached_property
    def store(self) -> JobStore:
        """The connected store, for jobs and whoever else writes."""
        from magflow.stores.jobstore import job_store_from_settings  # jobflow, which who only reads has no need of

        spec = self._store_spec()
        return job_store_from_settings(None if spec is None else spec.description(), self.path)

    @cached_property
    def documents(self) -> ReadableStore:
        """The same for who only reads; of an embedded store, its tables."""
        return embedded_documents(self.path) if self._store_spec() is None else self.store

    @cached_property
    def _source(self) -> Source:
        return read_source(self.path / FILE)

    def _store_spec(self) -> StoreSpec | None:
        """The section of the campaign file that says where its documents are."""
        data = self._source.data
        remember(data)
        section = data.get("store") if isinstance(data, dict) else None
        try:
            return None if section is None else StoreSpec.model_validate_json(json.dumps(section), strict=True)
        except ValidationError:
            return self.spec.store  # says what is wrong, and in which line

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.path / REPORT

    @property
    def models(self) -> Path:
        """Where the ensemble is written."""
        return self.path / MODELS

    @property
    def untuned(self) -> Path:
        """Where the ensemble is written as it was before it was shown force constants."""
        return self.path / UNTUNED


def _counted(spec: CampaignSpec, content: bytes) -> dict[str, Any]:
    """What the identity keeps of a campaign file, lest who looks build its crystals and search their symmetry."""
    if spec.phonons is None:
        return {}
    return {_PHONON_LABELS: {"file": _digest(content), "labels": _phonon_labels(spec)}}


def _phonon_labels(spec: CampaignSpec) -> int:
    from magflow.campaign.budget import labels_wanted  # phonopy, which few campaigns need

    return sum(labels_wanted(spec))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def _unwritable(path: Path, seen: str | None) -> StoreError:
    return StoreError(
        "the campaign's directory cannot be written",
        where=str(path),
        seen=seen,
        hint="choose another one with --dir, or free some space",
    )
