"""``magflow export``: labels, force constants and models of a campaign for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import Campaign, Json, out_option

if TYPE_CHECKING:
    from magflow.campaign.directory import CampaignDirectory


class ExportFormat(StrEnum):
    """Formats of labelled data, and of force constants."""

    EXTXYZ = "extxyz"
    MLIP_CFG = "mlip-cfg"
    DEEPMD = "deepmd"
    PHONOPY = "phonopy"


class For(StrEnum):
    """What labels were made for: the words of :class:`magflow.makers.documents.Purpose`."""

    CAMPAIGN = "campaign"
    PRETRAINING = "pre-training"
    TEST = "test"
    IMPORTED = "imported"
    PHONON = "phonon"


def export(
    directory: Campaign,
    output: Annotated[Path, out_option("PATH", "File to write; a folder for deepmd, phonopy and --models.")],
    form: Annotated[
        ExportFormat | None,
        typer.Option("--format", "-f", help="Format of the labelled data; phonopy: force constants. Default: extxyz."),
    ] = None,
    purpose: Annotated[
        For, typer.Option(help="Labels the loop chose, or those of a section transfer, labels or phonons of the file.")
    ] = For.CAMPAIGN,
    models: Annotated[bool, typer.Option("--models", help="Write the newest ensemble instead of the labels.")] = False,
    as_json: Json = False,
) -> None:
    """Write the labelled data, the force constants, or the ensemble, of a campaign.

    `extxyz` keeps everything and is read by ASE; `mlip-cfg` is read by MLIP, its `en_der_m*` columns are +dE/dm;
    `deepmd` is a folder of npy systems with spins. What a format has no place for is named with a count. `phonopy` is
    a folder per crystal of the section phonons, with force constants in a `phonopy_params.yaml`. `--models` writes a
    folder for `magflow predict`.

    Examples:

        magflow export runs/feal_quick -o labels.extxyz

        magflow export runs/feal_quick --format mlip-cfg -o labels.cfg

        magflow export runs/transfer_feal --purpose pre-training -o non_magnetic.extxyz

        magflow export runs/feal --format phonopy -o phonons

        magflow export runs/feal_quick --models -o potential
    """
    from magflow.campaign.directory import CampaignDirectory
    from magflow.cli.inputs import require_extxyz, tell
    from magflow.cli.printing import print_json
    from magflow.errors import InputError
    from magflow.io.export import losses, write_dataset
    from magflow.io.records import as_record
    from magflow.stores.contents import labelled_frames, latest_ensemble

    if models and form is not None:
        raise InputError("--models and --format exclude each other", hint="--models writes one format only")
    if (models or form is ExportFormat.PHONOPY) and purpose is not For.CAMPAIGN:
        given = "--models" if models else "--format phonopy"
        raise InputError(f"{given} and --purpose exclude each other", hint="--purpose is about labels")
    if form is None and not models:
        require_extxyz(output, hint="--format names others")
    campaign = CampaignDirectory.existing(directory)
    if models:
        ensemble = latest_ensemble(campaign.documents, campaign.id)
        ensemble.save(output)
        told: dict[str, Any] = {"members": len(ensemble.members)}
        said = f"wrote the ensemble to {output}"
    elif form is ExportFormat.PHONOPY:
        names = _write_constants(campaign, output)
        told, said = {"crystals": names}, f"wrote force constants of {len(names)} crystals to {output}"
    else:
        wanted = {} if purpose is For.CAMPAIGN else {"purpose": str(purpose)}
        labels = labelled_frames(campaign.documents, wanted, campaign.id)
        kind = form or ExportFormat.EXTXYZ
        lost = losses([as_record(item) for item in labels], kind)
        tell(lost)
        said = write_dataset(output, labels, kind)
        told = {"labels": len(labels), "lost": lost.as_dict()["notes"]}
    if as_json:
        print_json({"output": str(output), **told})
    else:
        typer.echo(said)


def _write_constants(campaign: CampaignDirectory, output: Path) -> list[str]:
    """The newest force constants of each crystal, each in a folder of its own; returns their names."""
    from magflow.errors import InputError
    from magflow.makers.phonons import force_constants_of
    from magflow.properties.phonopy_export import write_phonopy
    from magflow.stores.queries import force_constants

    known = force_constants(campaign.documents, criteria={"state": "ok"}, campaign=campaign.id, arrays=True)
    newest = {document.name: document for document in sorted(known, key=lambda d: d.created_at)}
    if not newest:
        raise InputError(
            "the campaign has no force constants",
            where=str(campaign.path),
            hint="a section phonons of its file asks for them",
        )
    for name, document in newest.items():
        write_phonopy(output / name.replace(" ", "_"), force_constants_of(document))
    return sorted(newest)
