"""``magflow benchmark``: studies that anyone can run on labels of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from magflow.cli.options import Json, Keys, VirialSign

benchmark = typer.Typer(no_args_is_help=True)


@benchmark.callback()
def _group() -> None:
    """Studies of how well families of potentials do, on labels of your own.

    Examples:

        magflow benchmark tm Cu.extxyz Mo.extxyz Ta.extxyz --dir metals
    """


@benchmark.command("tm")
def transition_metals(
    files: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]FILE...", help="Labels; a row each, or several in the row NAME."),
    ],
    directory: Annotated[Path, typer.Option("--dir", "-d", metavar="DIR", help="Where everything is kept.")],
    families: Annotated[
        str, typer.Option(help="Families with commas; NAME=FAMILY gives one a name of its own.")
    ] = "mmtp,sgp",
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary", metavar="NAME.KEY=V,V,...", help="Values of a setting; each is fitted. May be repeated."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.KEY=VALUE", help="A setting of one family; may be repeated."),
    ] = None,
    sizes: Annotated[str, typer.Option("--labels", help="Numbers of labels to learn from, with commas.")] = "20,40,80",
    seeds: Annotated[int, typer.Option(min=1, help="Draws of labels and fits; two show a spread.")] = 3,
    share: Annotated[float, typer.Option("--test", help="Share of the labels to test on.")] = 0.2,
    moments: Annotated[
        str, typer.Option(help="What is done with moments that labels carry: read, ignored, or both.")
    ] = "read,ignored",
    group: Annotated[
        str | None, typer.Option("--group", metavar="KEY", help="Key of a frame that says which group it is of.")
    ] = None,
    collinear: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="MUB", help="Turn moments onto z; frames with more across their axis are left out."
        ),
    ] = 0.0,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Measure how hard metals are to learn: errors over what there is to learn, by metal, family, size and labels.

    After the TM23 study of transition metals (Owen et al., npj Comput. Mater. 10, 92, 2024). Test labels are drawn in
    proportion from every temperature (`temperature=`) and group (`group=`, `config_type=`), unless the frames say
    `split=train` and `split=test`. Every metal, family, setting, number of labels and seed is one fit, kept as soon as
    it is done: after Ctrl-C or `kill -9` the same command goes on, and it may ask for more of everything. DIR gets
    `tm.html`, `results.json`, `results.csv` and `tm.svg`.

    Examples:

        magflow benchmark tm Nb.extxyz Mo.extxyz Cu.extxyz --vary mmtp.level=8,12,14 --dir runs/tm

        magflow benchmark tm Ti=cold.extxyz Ti-hot=hot.extxyz --families mmtp,sgp,nequip --dir runs/smearing
    """
    from magflow.api.benchmark import benchmark_tm
    from magflow.cli.compare import named_families, named_settings
    from magflow.cli.inputs import say
    from magflow.cli.printing import print_json, print_section
    from magflow.cli.progress import progress_bar
    from magflow.studies.tm.files import FILES, PAGE
    from magflow.studies.tm.section import section

    named = named_families(families)
    with progress_bar() as progress:
        found = benchmark_tm(
            files,
            directory,
            families=named,
            settings=named_settings(named, settings or []),
            vary=_varied(named, vary or []),
            sizes=_numbers(sizes),
            seeds=seeds,
            share=share,
            moments=moments.replace(",", " ").split(),
            group=group,
            collinear=collinear,
            virial_sign=virial_sign,
            keys=keys or (),
            told=say,
            progress=progress,
        )
    if as_json:
        files_left = {name: str(directory / name) for name in FILES if (directory / name).exists()}
        print_json({"files": files_left, **found.as_dict()})
        return
    print_section(section(found))
    typer.echo(f"wrote {directory / PAGE}")


def _numbers(text: str) -> tuple[int, ...]:
    from magflow.errors import InputError

    try:
        return tuple(int(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise InputError("not a list of numbers", where="--labels", seen=text, expected="such as 20,40,80") from None


def _varied(named: dict[str, str], assignments: list[str]) -> dict[str, dict[str, list[Any]]]:
    """Name of each family to its settings that are varied, each with its values."""
    from magflow.cli.compare import of_entry
    from magflow.cli.inputs import value_of
    from magflow.errors import InputError

    out: dict[str, dict[str, list[Any]]] = {}
    for text in assignments:
        name, rest = of_entry(named, text, "--vary")
        key, sign, values = rest.partition("=")
        found = [value_of(word) for word in values.split(",") if word.strip()]
        if not sign or not key or not found:
            raise InputError("a setting cannot be read", where="--vary", seen=text, expected="NAME.KEY=VALUE,VALUE,...")
        out.setdefault(name, {})[key.strip()] = found
    return out
