"""``magflow compile``: networks compiled for this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from magflow.cli.options import Json, Models

if TYPE_CHECKING:
    from magflow.core.compilation import Compilation


def compile(models: Models, as_json: Json = False) -> None:
    """Compile the networks of an ensemble for this machine, so that they are evaluated several times faster.

    Networks of the families nequip, nequip-spin and allegro go through PyTorch's AOTInductor, which takes a C++
    compiler and one to two CPU minutes for each. They are kept in `cache_dir` (~/.cache/magflow); whatever evaluates
    the same network on this machine afterwards uses them by itself: `magflow md`, `relax`, `validate`, the ASE
    calculator, campaigns. Each is held against itself: printed are the largest differences on a crystal of its
    elements, which are rounding, and CPU microseconds per atom before and after. `MAGFLOW_NEQUIP_COMPILED=false` goes
    without them.

    Examples:

        magflow compile runs/feal_quick

        magflow compile potential --json
    """
    from magflow.api.opening import load
    from magflow.cli.printing import print_json
    from magflow.core.compilation import CanBeCompiled
    from magflow.errors import InputError

    ensemble, made = load(models), []
    for k, member in enumerate(ensemble.members, 1):
        if not isinstance(member, CanBeCompiled):
            raise InputError(
                f"potentials of family {member.family} are not compiled",
                where=str(models),
                hint="those of nequip, nequip-spin and allegro are",
            )
        made.append(member.compile())
        if not as_json:
            typer.echo(f"member {k} of {len(ensemble.members)}: {_sentence(made[-1])}")
    if as_json:
        print_json({"members": [asdict(one) for one in made]})


def _sentence(made: Compilation) -> str:
    return (
        f"{made.before:.0f} -> {made.after:.0f} us/atom, {made.before / made.after:.1f} times faster; "
        f"energies equal to {made.energy:.1e} eV/atom, forces to {made.forces:.1e} eV/A; "
        f"{made.cost.cpu_seconds:.0f} CPU s"
    )
