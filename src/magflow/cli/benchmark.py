"""``magflow benchmark``: studies that anyone can run on labels of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.label import SOME_FAILED
from magflow.cli.options import Json, Keys, VirialSign

if TYPE_CHECKING:
    from magflow.presentation.sections import Section

benchmark = typer.Typer(no_args_is_help=True)


@benchmark.callback()
def _group() -> None:
    """Studies of how well potentials do, on labels and records of your own.

    Examples:

        magflow benchmark tm Cu.extxyz Mo.extxyz Ta.extxyz --dir metals

        magflow benchmark phonons phonons/Si --model mine=potential --dir against-dft
    """


@benchmark.command("tm")
def transition_metals(
    files: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]FILE...", help="Labels; a row each, or several in the row NAME."),
    ],
    directory: Annotated[Path, typer.Option("--dir", "-d", metavar="DIR", help="Where everything is kept.")],
    families: Annotated[
        str | None,
        typer.Option(
            help="Families with commas; NAME=FAMILY gives one a name of its own. Default: mmtp,sgp; with --axis none."
        ),
    ] = None,
    axes: Annotated[
        list[str] | None,
        typer.Option(
            "--axis",
            metavar="AXIS",
            help="l_max (flare 0-5, nequip 0-2) or body_order (flare B1-B3, mmtp level 8-16); may be repeated.",
        ),
    ] = None,
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

        magflow benchmark tm Nb.extxyz Cu.extxyz --axis l_max --axis body_order --labels 20 --dir runs/axes

        magflow benchmark tm Ti=cold.extxyz Ti-hot=hot.extxyz --families mmtp,sgp,nequip --dir runs/smearing
    """
    from magflow.api.benchmark import benchmark_tm
    from magflow.api.opening import one_of
    from magflow.cli.compare import named_families, named_settings
    from magflow.cli.inputs import say
    from magflow.cli.progress import progress_bar
    from magflow.studies.tm.axes import Axis, scans
    from magflow.studies.tm.files import FILES, PAGE
    from magflow.studies.tm.section import section

    axes = axes or []
    named = named_families(families or "mmtp,sgp") if families or not axes else {}
    known = named | {scan.base: scan.family for scan in scans(one_of(Axis, word, "--axis") for word in axes)}
    with progress_bar() as progress:
        found = benchmark_tm(
            files,
            directory,
            families=named,
            settings=named_settings(known, settings or []),
            vary=_varied(known, vary or []),
            axes=axes,
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
    left = [directory / name for name in FILES if (directory / name).exists()]
    _tell(found.as_dict(), section(found), left, directory / PAGE, as_json)


@benchmark.command("phonons")
def phonons(
    records: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORDS...",
            help="A JSON table of frequencies, or force constants: of phonopy, labelled frames, what magflow wrote.",
        ),
    ],
    directory: Annotated[Path, typer.Option("--dir", "-d", metavar="DIR", help="Where everything is kept.")],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME=DIR", help="An ensemble, or a campaign; may be repeated."),
    ] = None,
    calculators: Annotated[
        list[str] | None,
        typer.Option(
            "--calculator",
            metavar="NAME=MODULE:CALLABLE",
            help="A calculator of ASE, which is imported and called; may be repeated.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.KEY=VALUE", help="A keyword argument of a calculator; may be repeated."),
    ] = None,
    structures: Annotated[
        Path | None,
        typer.Option("--structures", metavar="FILE", help="Crystals of a table; default: the one .extxyz beside it."),
    ] = None,
    geometry: Annotated[
        str, typer.Option(help="relaxed: atoms and cell at rest on the potential; kept: as recorded.")
    ] = "relaxed",
    displacement: Annotated[float, typer.Option("--distance", help="Displacement of an atom, A.")] = 0.01,
    most_atoms: Annotated[
        int | None, typer.Option("--most-atoms", min=1, help="Leave out records with larger supercells.")
    ] = None,
    moment: Annotated[
        list[str] | None,
        typer.Option("--moment", metavar="EL=MUB", help="|m| where files of phonopy hold none or a guess, muB."),
    ] = None,
    clamped: Annotated[
        bool, typer.Option("--clamped", help="Moments were held in phonopy's displacements; else they followed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hold potentials against recorded phonons: highest frequency, entropy, free energy, heat capacity at 300 K.

    Any ensemble of magflow and any calculator of ASE. Each crystal comes to rest on the potential, and phonopy takes
    its phonons in the supercell and on the mesh of the record. Printed are mean absolute errors, and what they are of
    those of the first potential. Every answer is kept as soon as it is there: after Ctrl-C or `kill -9` the same
    command goes on, and it may ask for more. DIR gets `phonons.html`, `results.json`, `results.csv`, `phonons.svg`.

    Examples:

        magflow benchmark phonons columns.extxyz --model before=potential --model after=tuned --dir phonons

        magflow benchmark phonons dft.json.gz --calculator EMT=ase.calculators.emt:EMT --dir against-dft
    """
    from magflow.api.phonon_records import benchmark_phonons
    from magflow.cli.compare import named_settings
    from magflow.cli.inputs import moments_of
    from magflow.cli.progress import progress_bar
    from magflow.studies.phonons.files import FILES, PAGE
    from magflow.studies.phonons.section import section

    named = _pairs(calculators or [], "--calculator", "NAME=MODULE:CALLABLE")
    with progress_bar() as progress:
        found = benchmark_phonons(
            list(records),
            directory,
            models=_pairs(models or [], "--model", "NAME=DIR"),
            calculators=named,
            settings=named_settings(named, settings or []),
            structures=structures,
            geometry=geometry,
            displacement=displacement,
            most_atoms=most_atoms,
            moments=moments_of(moment or (), "--moment"),
            clamped=clamped,
            progress=progress,
        )
    left = [directory / name for name in FILES if (directory / name).exists()]
    _tell(found.as_dict(), section(found), left, directory / PAGE, as_json)


@benchmark.command("generate")
def generate(
    elements: Annotated[str, typer.Argument(metavar="EL,...", help="Elements, with commas.")],
    directory: Annotated[Path, typer.Option("--dir", "-d", metavar="DIR", help="Where everything is kept.")],
    engine: Annotated[str, typer.Option(help="Label engine: abinit, vasp, spin-lattice, or a plug-in's.")] = "abinit",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the engine; may be repeated.")
    ] = None,
    smearings: Annotated[
        str, typer.Option("--smearing", help="Electronic smearings, with commas (ABINIT: hartree; VASP: eV).")
    ] = "",
    crystals: Annotated[int, typer.Option(min=1, help="Crystals of each element.")] = 12,
    melts: Annotated[int, typer.Option(min=0, help="Melts of each element.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Every random number follows from it.")] = 1,
    melting: Annotated[
        list[str] | None, typer.Option("--melting", metavar="EL=K", help="Melting point; may be repeated.")
    ] = None,
    debye: Annotated[
        list[str] | None, typer.Option("--debye", metavar="EL=K", help="Debye temperature; may be repeated.")
    ] = None,
    structures: Annotated[
        list[str] | None,
        typer.Option("--structure", metavar="EL=NAME", help="fcc, bcc, hcp, ...; default: as ASE lists the element."),
    ] = None,
    lattice_constants: Annotated[
        list[str] | None,
        typer.Option("--lattice-constant", metavar="EL=A", help="Of that structure; default: from ASE."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Labels at the same time.")] = 1,
    as_json: Json = False,
) -> None:
    """Label cells of elements for `magflow benchmark tm`: a file per element and electronic smearing.

    Cells of four atoms: crystals displaced as a Debye crystal is at 0.25, 0.75 and 1.25 of the melting point, strained
    a little, and melts at 1.25, run on a potential that has learnt from the crystals. All smearings label the same
    cells. Melting points are from pymatgen, Debye temperatures from its elastic constants, crystals from ASE. Elements
    that are usually magnetic are labelled spin-polarised, others non-magnetic. After Ctrl-C or `kill -9` the same
    command goes on; it may ask for more cells and smearings, and computes none twice, failed ones included.

    Examples:

        magflow benchmark generate Ti,Cu --smearing 0.005,0.02 --dir labels

        magflow benchmark generate Mo --crystals 24 --set kpoints=0.4 --dir labels
    """
    from magflow.api.generation import generate_tm
    from magflow.cli.inputs import settings_of
    from magflow.cli.printing import print_json
    from magflow.cli.progress import progress_bar

    with progress_bar() as progress:
        made = generate_tm(
            elements.replace(",", " ").split(),
            directory,
            engine=engine,
            settings=settings_of(settings or []),
            smearings=_floats(smearings, "--smearing"),
            crystals=crystals,
            melts=melts,
            seed=seed,
            melting=_of_elements(melting or [], "--melting"),
            debye=_of_elements(debye or [], "--debye"),
            structures=_pairs(structures or [], "--structure", "EL=NAME"),
            lattice_constants=_of_elements(lattice_constants or [], "--lattice-constant"),
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json({"sets": [one.as_dict() for one in made]})
    for one in () if as_json else made:
        for kind, messages in one.failures.items():
            typer.echo(f"failed: {len(messages)} of {one.name} {kind}; {messages[0]}", err=True)
        cost = "" if one.cpu_seconds is None else f", {one.cpu_seconds:.3g} CPU s each"
        typer.echo(f"{one.file or one.name}: {one.labels} {one.kind} labels ({one.computed} computed now){cost}")
    if any(one.failures for one in made):
        raise typer.Exit(SOME_FAILED)


def _tell(found: dict[str, Any], shown: Section, left: list[Path], page: Path, as_json: bool) -> None:
    """What a benchmark has found, with the files it left."""
    from magflow.cli.printing import print_json, print_section

    if as_json:
        print_json({"files": {file.name: str(file) for file in left}, **found})
        return
    print_section(shown)
    typer.echo(f"wrote {page}")


def _pairs(texts: list[str], option: str, expected: str) -> dict[str, str]:
    """Name to what stands behind its sign."""
    from magflow.errors import InputError

    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise InputError("not a name and what it stands for", where=option, seen=text, expected=expected)
        if name in found:
            raise InputError("two of one name", where=option, seen=name)
        found[name] = value
    return found


def _of_elements(assignments: list[str], option: str) -> dict[str, float]:
    """Element to its positive number."""
    out = {}
    for element, value in _pairs(assignments, option, "EL=VALUE").items():
        (out[element],) = _floats(value.replace(",", "?"), option)
    return out


def _floats(text: str, option: str) -> tuple[float, ...]:
    from magflow.errors import InputError

    words = text.replace(",", " ").split()
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        numbers = (float("nan"),)
    if not all(0.0 < number < float("inf") for number in numbers):
        raise InputError("not a list of positive numbers", where=option, seen=text)
    return numbers


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
