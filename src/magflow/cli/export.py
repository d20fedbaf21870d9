"""``magflow export``: labels and models of a campaign for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from magflow.cli.options import Campaign, Json, out_option


class ExportFormat(StrEnum):
    """Formats of labelled data."""

    EXTXYZ = "extxyz"
    MLIP_CFG = "mlip-cfg"
    DEEPMD = "deepmd"


class For(StrEnum):
    """What labels were made for: the words of :class:`magflow.makers.documents.Purpose`."""

    CAMPAIGN = "campaign"
    PRETRAINING = "pre-training"
    TEST = "test"
    IMPORTED = "imported"
    PHONON = "phonon"


def export(
    directory: Campaign,
    output: Annotated[Path, out_option("PATH", "File to write; a folder for deepmd and --models.")],
    form: Annotated[
        ExportFormat | None, typer.Option("--format", "-f", help="Format of the labelled data. Default: extxyz.")
    ] = None,
    purpose: Annotated[
        For, typer.Option(help="Labels the loop chose, or those of a section transfer, labels or phonons of the file.")
    ] = For.CAMPAIGN,
    models: Annotated[bool, typer.Option("--models", help="Write the newest ensemble instead of the labels.")] = False,
    as_json: Json = False,
) -> None:
    """Write the labelled data, or the ensemble, of a campaign.

    `extxyz` keeps everything and is read by ASE; `mlip-cfg` is read by MLIP, its `en_der_m*` columns are +dE/dm;
    `deepmd` is a folder of npy systems with spins. What a format has no place for is named with a count. `--models`
    writes a folder for `magflow predict`.

    Examples:

        magflow export runs/feal_quick -o labels.extxyz

        magflow export runs/feal_quick --format mlip-cfg -o labels.cfg

        magflow export runs/transfer_feal --purpose pre-training -o non_magnetic.extxyz

        magflow export runs/feal_quick --models -o potential
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.inputs import tell
    from magflow.cli.printing import print_json
    from magflow.errors import InputError
    from magflow.io.export import losses, write_dataset
    from magflow.io.records import as_record
    from magflow.stores.queries import labelled_frames, latest_ensemble

    if models and form is not None:
        raise InputError("--models and --format exclude each other", hint="--models writes one format only")
    if models and purpose is not For.CAMPAIGN:
        raise InputError("--models and --purpose exclude each other", hint="--purpose is about labels")
    campaign = CampaignDirectory.existing(directory)
    if models:
        ensemble = latest_ensemble(campaign.store, campaign.id)
        ensemble.save(output)
        told: dict[str, Any] = {"members": len(ensemble.members)}
        said = f"wrote the ensemble to {output}"
    else:
        wanted = {} if purpose is For.CAMPAIGN else {"purpose": str(purpose)}
        labels = labelled_frames(campaign.store, wanted, campaign.id)
        kind = form or ExportFormat.EXTXYZ
        lost = losses([as_record(item) for item in labels], kind)
        tell(lost)
        said = write_dataset(output, labels, kind)
        told = {"labels": len(labels), "lost": lost.as_dict()["notes"]}
    if as_json:
        print_json({"output": str(output), **told})
    else:
        typer.echo(said)
