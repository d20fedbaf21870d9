"""How hard metals are to learn: files of labels, families, and one benchmark in a directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from warnings import warn

from magflow.api.opening import family_of, one_of
from magflow.core import plugins
from magflow.core.protocols import WorkProgress, silent
from magflow.errors import CampaignError, InputError, MissingToolError
from magflow.io.findings import Findings
from magflow.io.gather import gather
from magflow.io.quantities import parse_keys
from magflow.io.sources import Wish, check_heeded, source_of
from magflow.presentation.formats import plural
from magflow.studies.tm.axes import Axis, along
from magflow.studies.tm.contenders import Contender, Reading
from magflow.studies.tm.files import write_tm
from magflow.studies.tm.result import TmBenchmark
from magflow.studies.tm.rows import Row, Sorted, sort_records, turned_onto_z
from magflow.studies.tm.task import TmTask

FITS = ".fits"
"""Directory below that of a benchmark in which fits are kept."""


def benchmark_tm(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    families: Sequence[str] | Mapping[str, str] = ("mmtp", "sgp"),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    vary: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    axes: Sequence[str] = (),
    sizes: Sequence[int] = (20, 40, 80),
    seeds: int = 3,
    share: float = 0.2,
    moments: Sequence[str] = (Reading.READ, Reading.IGNORED),
    group: str | None = None,
    collinear: float = 0.0,
    virial_sign: int | None = None,
    keys: Sequence[str] = (),
    told: Callable[[str], None] = warn,
    progress: WorkProgress = silent,
) -> TmBenchmark:
    """Fit families to the labels of several metals, and compare how hard these are to learn.

    Whatever fit `out` holds already is kept; the same call goes on after a kill, and may ask for more.

    Parameters
    ----------
    files
        Labels of any format; ``NAME=FILE`` puts a file into the row NAME, several into one row. Others are a row each,
        named after their elements, or after the file where two would be named alike.
    families
        Names of families; or a name of your own to a family each. One that is not installed is a row that says so.
    settings
        Name to the settings of that family.
    vary
        Name to setting to its values: each is a contender of its own.
    axes
        ``l_max``, ``body_order`` or both: what the TM23 study varies (:mod:`magflow.studies.tm.axes`), beside `vary`.
    sizes, seeds
        Numbers of labels to learn from, and draws of each.
    share
        Of the labels, to test on; data that say themselves what to test on are followed.
    moments
        ``read``, ``ignored`` or both, where labels carry moments.
    group
        Key of a frame that says which group it is of.
    collinear
        Moments are turned onto z, as families that read collinear ones want them, in frames where no more of any lies
        across their common axis, muB; other frames that are not collinear are left out. 0: moments stay as they are.
    virial_sign, keys, told
        As :func:`magflow.read_labels`.

    Raises
    ------
    InputError
        No labels, unknown settings, a name that stands for two things, too few labels.
    CampaignError
        If every fit failed.
    """
    wish = Wish(parse_keys(keys), virial_sign)
    named = dict(families) if isinstance(families, Mapping) else {name: name for name in families}
    asked = along([one_of(Axis, word, "axes") for word in axes], named, settings or {}, vary or {})
    task = TmTask(
        rows=read_rows(files, wish, group=group, collinear=collinear, told=told),
        contenders=contenders(*asked),
        sizes=tuple(sizes),
        seeds=tuple(range(1, seeds + 1)),
        workdir=Path(out) / FITS,
        share=share,
        readings=tuple(one_of(Reading, word, "moments") for word in moments),
    )
    benchmark = task.run(progress)
    write_tm(benchmark, Path(out))
    if all(fit.failure for fit in benchmark.fits):
        raise CampaignError("every fit failed", seen=benchmark.fits[0].failure, where=str(out))
    return benchmark


def read_rows(
    files: Sequence[str | Path],
    wish: Wish,
    *,
    group: str | None = None,
    collinear: float = 0.0,
    told: Callable[[str], None] = warn,
) -> tuple[Row, ...]:
    """Labels by row; see :func:`benchmark_tm`.

    Raises
    ------
    InputError
        A file without labels, or what its reader refuses; labels of one row that are of several levels of theory.
    """
    named = [_named(str(file)) for file in files]
    check_heeded(wish, [source_of(path) for _, path in named])
    members: dict[str, list[Sorted]] = {}
    read = [(name, path, _turned(_members(path, wish, group, told), path, collinear, told)) for name, path in named]
    unnamed = [_elements(found) for name, _, found in read if not name]
    for name, path, found in read:
        own = _elements(found)
        members.setdefault(name or (own if unnamed.count(own) == 1 else path.stem), []).extend(found)
    return tuple(Row(name, tuple(found)) for name, found in members.items())


def _named(text: str) -> tuple[str, Path]:
    """``NAME=FILE`` as name and path; no name where there is none, or a file is called so."""
    name, sign, path = text.partition("=")
    if not sign or Path(text).exists():
        return "", Path(text)
    return name.strip(), Path(path)


def _members(path: Path, wish: Wish, group: str | None, told: Callable[[str], None]) -> list[Sorted]:
    findings = Findings()
    try:
        found = sort_records(gather([path], wish, findings), path.stem, group)
    finally:
        for line in findings.lines():
            told(line)
    if not found:
        raise InputError(
            "no labels to learn from", where=str(path), hint="--keys energy=NAME says which key is the energy"
        )
    return found


def _turned(members: list[Sorted], path: Path, across: float, told: Callable[[str], None]) -> list[Sorted]:
    """With collinear moments, if `across` is not zero."""
    if not across:
        return members
    kept, left_out = turned_onto_z(members, across)
    if left_out:
        many = f"{left_out} of {plural(len(members), 'label')}"
        told(f"left out: {many} with more than {across:g} muB across the common axis of their moments ({path})")
    return kept


def _elements(members: Sequence[Sorted]) -> str:
    return "-".join(sorted({s for member in members for s in member.item.frame.species}))


def contenders(
    named: Mapping[str, str],
    settings: Mapping[str, Mapping[str, Any]],
    vary: Mapping[str, Mapping[str, Sequence[Any]]],
) -> tuple[Contender, ...]:
    """Families with their settings, one contender for every combination of what is varied.

    Parameters
    ----------
    named
        Name to family.

    Raises
    ------
    InputError
        Settings of no family, or unknown ones.
    """
    if unknown := sorted((set(settings) | set(vary)) - set(named)):
        raise InputError("settings of no family", seen=", ".join(unknown), expected="one of " + ", ".join(named))
    out = []
    for base, family in named.items():
        varied = vary.get(base, {})
        for values in product(*varied.values()):
            chosen = dict(zip(varied, values, strict=True))
            try:
                plugins.load(plugins.POTENTIAL_FAMILIES, family)
            except (InputError, MissingToolError) as error:
                out.append(Contender(base, None, chosen, str(error)))
                continue
            whole = _merged(settings.get(base, {}), chosen)
            out.append(Contender(base, family_of(family, whole, f"settings of {base}:"), chosen))
    return tuple(out)


def _merged(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with those of `chosen`, whose keys may lead into them with dots."""
    whole = dict(settings)
    for key, value in chosen.items():
        place, (*above, last) = whole, key.split(".")
        for part in above:
            place[part] = dict(place.get(part, {}))
            place = place[part]
        place[last] = value
    return whole
