"""``magflow convert``: labelled data and potentials between the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magflow.cli.options import EnDerSign, Keys, TypeElements, VirialSign

if TYPE_CHECKING:
    from magflow.potentials.mmtp.mtp_file import Dialect

POTENTIALS = {".mtp", ".mmtp", ".almtp"}
"""Names that end so are MLIP's potentials."""


def convert(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Labels: extxyz, .cfg, DeePMD, ASE .db, .traj; POT.mtp (several: an ensemble), an ensemble.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--out", "-o", help="What its name says: .extxyz, .cfg, a folder; .mtp for an ensemble."),
    ],
    elements: TypeElements = None,
    en_der_sign: EnDerSign = None,
    virial_sign: VirialSign = None,
    keys: Keys = None,
    symmetrise: Annotated[
        bool, typer.Option("--symmetrise", help="Use (E(M) + E(-M))/2 of a .mtp, as published, not E(M).")
    ] = False,
    dialect: Annotated[
        str | None, typer.Option(help="Magnetic keys of .mtp: mag (older, the default), basis (MLIP-3).")
    ] = None,
) -> None:
    """Convert labelled frames, or potentials, from and to the formats of other programs.

    Labels keep energy, forces, stress, moments and magnetic forces, as far as both formats have them; whatever is
    read under another name, not used, left out or has no place in the output is told with a count. A potential becomes
    an ensemble for `magflow predict`, `relax` and `md`; an ensemble becomes one .mtp per member, in the raw form: an
    `even` one is exactly itself there, a `paper` one is (E(M) + E(-M))/2 of it.

    Examples:

        magflow convert train.cfg --elements Fe,Al --en-der-sign -1 -o train.extxyz

        magflow convert Fe-Al.mmtp --elements Al,Fe --symmetrise -o published

        magflow convert potential -o member.mtp --dialect basis
    """
    from magflow.errors import InputError

    names = tuple(elements.replace(",", " ").split()) if elements else None
    missing = [str(p) for p in source if not p.exists()]
    if missing:
        raise InputError("no such file or folder", seen=", ".join(missing))
    if all(p.suffix in POTENTIALS for p in source):
        typer.echo(_ensemble_of(source, output, names, symmetrise=symmetrise))
    elif len(source) > 1:
        raise InputError("only potentials are converted together", seen=", ".join(map(str, source)))
    elif output.suffix in POTENTIALS:
        typer.echo(_potentials_of(source[0], output, _dialect(dialect or "mag")))
    else:
        if symmetrise or dialect is not None:
            raise InputError("an option of potentials", where="--symmetrise, --dialect", hint="leave it out for labels")
        _convert_labels(source[0], output, names, en_der_sign, virial_sign, keys or [])


def _convert_labels(
    source: Path,
    output: Path,
    elements: tuple[str, ...] | None,
    en_der_sign: int | None,
    virial_sign: int | None,
    keys: list[str],
) -> None:
    from magflow.cli.inputs import tell
    from magflow.errors import InputError
    from magflow.io.export import Target, form_of, heeded, losses, write_records
    from magflow.io.findings import Findings
    from magflow.io.gather import energy_hint, gather
    from magflow.io.quantities import parse_keys
    from magflow.io.sources import Wish, check_heeded, source_of

    target = Target(output, form_of(output), elements, en_der_sign)
    wish = Wish(parse_keys(keys), virial_sign, elements, en_der_sign)
    check_heeded(wish, [source_of(source)], heeded(target.form))
    findings = Findings()
    try:
        records = gather([source], wish, findings)
    finally:
        tell(findings, extras=False)
    labelled = [record for record in records if record.label is not None]
    if len(labelled) < len(records):
        typer.echo(f"left out: {len(records) - len(labelled)} frames without an energy", err=True)
    if not labelled:
        raise InputError("no frame has an energy", where=str(source), hint=energy_hint(records))
    tell(losses(labelled, target.form))
    typer.echo(write_records(target, labelled))


def _dialect(name: str) -> Dialect:
    from magflow.errors import InputError
    from magflow.potentials.mmtp.mtp_file import Dialect

    if name not in set(Dialect):
        raise InputError("unknown dialect", where="--dialect", seen=name, expected=", ".join(Dialect))
    return Dialect(name)


def _named(elements: tuple[str, ...] | None, source: Path) -> tuple[str, ...]:
    from magflow.errors import InputError

    if elements is None:
        raise InputError("the file numbers its elements", where=str(source), hint="name them: --elements Fe,Al")
    return elements


def _ensemble_of(source: list[Path], output: Path, elements: tuple[str, ...] | None, *, symmetrise: bool) -> str:
    from dataclasses import replace

    from magflow.errors import InputError
    from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble
    from magflow.potentials.mmtp import MmtpFamily
    from magflow.potentials.mmtp.mtp_file import read_mtp

    if (output / MANIFEST).exists():
        raise InputError("the folder holds an ensemble already", where=str(output), hint="choose another --out")
    members = [read_mtp(path, _named(elements, path)) for path in source]
    if symmetrise:
        members = [replace(m, model=replace(m.model, symmetrise=m.magnetic)) for m in members]
    PotentialEnsemble(tuple(members), MmtpFamily.name).save(output)
    return f"wrote {output}: {len(members)} of {', '.join(members[0].species)}, cutoff {members[0].cutoff:g} A"


def _potentials_of(source: Path, output: Path, dialect: Dialect) -> str:
    from magflow.api.opening import load
    from magflow.errors import InputError
    from magflow.potentials.mmtp import MmtpFamily, MmtpPotential
    from magflow.potentials.mmtp.mtp_file import write_mtp

    ensemble = load(source)
    members = [m for m in ensemble.members if isinstance(m, MmtpPotential)]
    if len(members) < len(ensemble.members):
        raise InputError(
            "only mMTPs have this format", where=str(source), seen=ensemble.family_name, expected=MmtpFamily.name
        )
    paths = [output] if len(members) == 1 else [output.with_stem(f"{output.stem}_{k}") for k in range(len(members))]
    output.parent.mkdir(parents=True, exist_ok=True)
    for member, path in zip(members, paths, strict=True):
        write_mtp(member, path, dialect=dialect)
    types = ", ".join(f"type {i} = {s}" for i, s in enumerate(ensemble.species))
    use = "; use (E(M) + E(-M))/2" if any(m.model.symmetrise and m.magnetic for m in members) else ""
    return f"wrote {', '.join(map(str, paths))}; {types}{use}"
