"""Labels from files: one document per label, and the job that gathers them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobflow import Flow, Job, Response, job
from monty.json import MSONable

from magflow.core.dataset import Dataset
from magflow.core.label import Cost, LabeledFrame, LevelOfTheory
from magflow.core.protocols import LabelEngine
from magflow.errors import InputError
from magflow.io.importing.content import content_digest
from magflow.io.importing.warm_start import Given, take_in, together
from magflow.io.quantities import parse_keys
from magflow.io.sources import Wish
from magflow.makers import roles
from magflow.makers.base import Campaign, PluginMaker, prepare
from magflow.makers.documents import BatchDoc, LabelDoc, Purpose
from magflow.makers.label import collect, level_of_theory
from magflow.makers.label_document import label_document
from magflow.makers.packing import pack_labelled, unpack_labelled

OWN = "own"
"""Name of the campaign's own level of theory."""


@dataclass
class LabelFile(MSONable):
    """A file or folder of labels and what a user says about it.

    Parameters
    ----------
    path
        Absolute, the same on every machine that works on the campaign.
    digest
        Of its content (:func:`~magflow.io.importing.content.content_digest`).
    keys, virial_sign, elements, en_der_sign
        As for :class:`~magflow.io.sources.Wish`, `keys` as texts.
    level
        Level of theory of labels whose file names none: :data:`OWN`, or a name. None: nobody said.
    """

    path: str
    digest: str
    keys: list[str] = field(default_factory=list)
    virial_sign: int | None = None
    elements: list[str] = field(default_factory=list)
    en_der_sign: int | None = None
    level: str | None = None

    def wish(self, own: LevelOfTheory) -> Wish:
        """The same for a reader, in a campaign of level `own`."""
        return Wish(
            parse_keys(self.keys),
            self.virial_sign,
            tuple(self.elements) or None,
            self.en_der_sign,
            level_of_theory=own if self.level == OWN else None,
            level=None if self.level == OWN else self.level,
        )


@dataclass(kw_only=True)
class ImportMaker(PluginMaker):
    """Takes labels that others have computed into a campaign.

    Parameters
    ----------
    files
        Where they are.
    engine
        Of the campaign: its level of theory is the campaign's own.
    foreign
        The labels are of another level of theory, and the user said so.
    """

    files: list[LabelFile]
    engine: LabelEngine
    campaign: Campaign
    foreign: bool = False
    name: str = "import"

    @property
    def which(self) -> str:
        """What tells labels of the campaign's own level of theory from others."""
        return "other" if self.foreign else OWN

    @property
    def batch_uuid(self) -> str:
        """The job whose output is the BatchDoc."""
        return roles.take_in(self.which).uuid(self.campaign.id)

    def given(self) -> Iterator[Given]:
        """What each file holds.

        Raises
        ------
        InputError
            As :func:`~magflow.io.importing.warm_start.take_in`; a file that is not the one the campaign was made with.
        """
        own = level_of_theory(self.engine, self.campaign.elements)
        for file in self.files:
            path = Path(file.path)
            if (now := content_digest(path)) != file.digest:
                raise InputError(
                    "the file is another than when the campaign was submitted",
                    where=file.path,
                    seen=now,
                    expected=file.digest,
                    hint="put it back; with other labels it is another campaign",
                )
            yield take_in(path, file.wish(own), own, self.campaign.elements, foreign=self.foreign)

    def dataset(self) -> Dataset:
        """The labels of all files, each once. Raises InputError as :meth:`given`, and on several other levels."""
        return together(self.given())

    def taking(self) -> Job:
        """The job that reads the files."""
        return prepare(self.read(), self.campaign, roles.take_in(self.which))

    @job
    def read(self) -> Response[BatchDoc]:
        """Replace this job by one document per label and the job that gathers them."""
        sources = {item.label_id: Path(g.path).name for g in self.given() for item in g.items}
        jobs = []
        for number, item in enumerate(self.dataset()):
            made = self.make(pack_labelled([item]), f"import:{sources[item.label_id]}")
            jobs.append(prepare(made, self.campaign, roles.taken(self.which, number)))
        gather = collect(self.campaign, [j.output for j in jobs], 0)
        prepare(gather, self.campaign, roles.collect_taken(self.which))
        return Response(replace=Flow([*jobs, gather], output=gather.output, name=f"{self.which} labels"))

    @job(data="arrays")
    def make(self, labelled: str, source: str) -> LabelDoc:
        """The document of one label; it costs this campaign nothing."""
        (item,) = unpack_labelled(labelled)
        return imported_document(item, self.campaign, source)


def imported_document(item: LabeledFrame, campaign: Campaign, source: str) -> LabelDoc:
    """The document of a label that somebody else has computed."""
    label = replace(item.label, cost=Cost(cores=item.label.cost.cores))
    engine = label.level_of_theory.code
    document = label_document(item.frame, label, campaign, engine, source, 0, Purpose.IMPORTED)
    return document.model_copy(update={"reused": True})
