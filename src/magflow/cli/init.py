"""``magflow init``: a commented campaign file to start from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json


class Template(StrEnum):
    """Campaign files that come with magflow."""

    FEAL = "feal"
    FEAL_QUICK = "feal-quick"
    BCC_FE = "bcc-fe"
    MODEL_HAMILTONIAN = "model-hamiltonian"
    FE_CR_C = "fe-cr-c"
    FE_CR_C_SMALL = "fe-cr-c-small"
    TRANSFER_FEAL = "transfer-feal"
    TRANSFER_MODEL = "transfer-model"


def init(
    template: Annotated[Template, typer.Argument(help="What to start from.")] = Template.FEAL_QUICK,
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to put the file.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a commented campaign file. Nothing is ever overwritten.

    `feal-quick` is B2 Fe-Al and bcc Fe on ABINIT in half an hour; `bcc-fe` is iron at a level of theory fit for use;
    `model-hamiltonian` needs no DFT code and takes a minute. `transfer-feal` and `transfer-model` are the same with a
    start from non-magnetic labels. `fe-cr-c` holds the phases of iron, chromium and carbon, `fe-cr-c-small`
    five small cells of them.

    Examples:

        magflow init

        magflow init model-hamiltonian tutorial
    """
    from magflow.campaign.templates import template_text
    from magflow.cli.printing import print_json
    from magflow.core.files import create_file

    name = template.replace("-", "_")
    target = directory / f"{name}.yaml"
    create_file(target, template_text(name).encode())
    if as_json:
        print_json({"file": str(target)})
        return
    typer.echo(f"wrote {target}")
    typer.echo(f"next: magflow check {target}")
