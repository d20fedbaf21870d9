"""``magflow displace``: the frames whose labels tell force constants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json, Magmoms, Structure, out_option


def displace(
    structure: Structure,
    output: Annotated[Path, out_option("FILE.extxyz", "Where the frames go.")],
    repeat: Annotated[tuple[int, int, int], typer.Option("--repeat", metavar="A B C", help="Repeats of the cell.")] = (
        1,
        1,
        1,
    ),
    distance: Annotated[float, typer.Option("--distance", help="Displacement of the one atom, A.")] = 0.01,
    magmoms: Magmoms = None,
    as_json: Json = False,
) -> None:
    """Write a perfect supercell and the same with one atom displaced, as few frames as its symmetry allows.

    Moments take part in the symmetry and stay as they are. `magflow label` labels the frames; then they are force
    constants for `magflow finetune --phonons`. The structure has to be at rest.

    Examples:

        magflow displace relaxed.extxyz --repeat 2 2 2 -o displaced.extxyz
    """
    from magflow.api import finetuning
    from magflow.cli.inputs import magmoms_of
    from magflow.cli.printing import print_json

    frames = finetuning.displace(structure, output, repeat=repeat, distance=distance, magmoms=magmoms_of(magmoms))
    if as_json:
        print_json({"output": str(output), "frames": len(frames), "atoms": len(frames[0])})
    else:
        typer.echo(f"wrote {len(frames)} frames of {len(frames[0])} atoms to {output}, the perfect one first")
