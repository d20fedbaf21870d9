"""What the numbers show, in sentences. A difference counts when every seed of one side lies beyond every seed of the
other; all else is said to be within the spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from magflow.presentation.formats import number, plural
from magflow.studies.tm.contenders import Reading
from magflow.studies.tm.result import Spread, Subject, TmBenchmark
from magflow.studies.tm.rows import EARLY, LATE

Finding = tuple[str, str]
"""What it is about, and what it says."""


def findings(benchmark: TmBenchmark) -> list[Finding]:
    """All there is to say; of one seed, that nothing is."""
    size = benchmark.main_size
    if size is None:
        return [
            ("Differences", "no number of labels is common to all rows: errors of one row and another do not compare")
        ]
    if len({fit.case.seed for fit in benchmark.fits}) < 2:
        return [("Differences", "of one seed no spread is known, so that nothing is said of differences")]
    told = (_early_and_late, _moments, _larger, _families, _more_labels)
    return [finding for tell in told for finding in tell(benchmark, size)]


def _early_and_late(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """Whether metals of columns 3 to 7 are harder than those of columns 8 to 12."""
    columns = {name: row["column"] for name, row in benchmark.about["rows"].items()}
    for contender in benchmark.contenders:
        known = {row: _of_row(benchmark, row, contender, size) for row in benchmark.rows}
        found = {row: spread for row, spread in known.items() if spread is not None}
        early, late = ([row for row in found if columns[row] in part] for part in (EARLY, LATE))
        if not early or not late:
            continue
        pairs = [(found[a], found[b]) for a in early for b in late]
        harder = sum(a.exceeds(b) for a, b in pairs)
        easier = sum(b.exceeds(a) for a, b in pairs)
        text = (
            f"early d metals ({', '.join(early)}) beside late ones ({', '.join(late)}), relative error of forces from "
            f"{plural(size, 'label')}: {_factors([a.median / b.median for a, b in pairs])}; "
            f"in {harder} of {plural(len(pairs), 'pair')} the early one is harder, in {easier} the late one"
        )
        yield contender, text + _undecided(len(pairs) - harder - easier, "pair")


def _of_row(benchmark: TmBenchmark, row: str, contender: str, size: int) -> Spread | None:
    """The relative error of a row: with its moments read, where that is possible."""
    spreads = [benchmark.relative(Subject(row, reading), contender, size) for reading in Reading]
    return next((spread for spread in spreads if spread is not None), None)


def _moments(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What reading moments is worth."""
    for subject in benchmark.subjects:
        if subject.reading is not Reading.READ:
            continue
        without = Subject(subject.row, Reading.IGNORED)
        for contender in benchmark.contenders:
            told = []
            for quantity in ("forces", "energy", "stress"):
                a = benchmark.error(subject, contender, size, quantity)
                b = benchmark.error(without, contender, size, quantity)
                if a is not None and b is not None:
                    told.append(f"{quantity} {_change(a, b)}")
            if told:
                text = f"with moments as input, {contender}, {plural(size, 'label')}: " + "; ".join(told)
                yield subject.row, text


def _larger(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What the largest value of a varied setting gives beside the smallest."""
    for variation in variations(benchmark):
        pairs = [(subject, variation.names[-1], variation.names[0]) for subject in benchmark.subjects]
        what = f"{variation.key} {variation.values[-1]:g} instead of {variation.values[0]:g}"
        if told := _beside(benchmark, size, pairs):
            yield variation.base, f"{what}, {told}"


def _families(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """Each pair of families, both with the settings of least error."""
    bases = list(dict.fromkeys(c["base"] for c in benchmark.about["contenders"]))
    for k, first in enumerate(bases):
        for second in bases[k + 1 :]:
            best = [
                (s, _best(benchmark, size, second, s), _best(benchmark, size, first, s)) for s in benchmark.subjects
            ]
            pairs = [(subject, new, old) for subject, new, old in best if new is not None and old is not None]
            if told := _beside(benchmark, size, pairs):
                yield second, f"instead of {first}, each at its best, {told}"


def _best(benchmark: TmBenchmark, size: int, base: str, subject: Subject) -> str | None:
    """The contender of `base` whose median error is least; None where there is none."""
    names: list[str] = [c["name"] for c in benchmark.about["contenders"] if c["base"] == base]
    errors = {name: benchmark.relative(subject, name, size) for name in names}
    known = {name: spread.median for name, spread in errors.items() if spread is not None}
    return min(known, key=known.__getitem__, default=None)


def _beside(benchmark: TmBenchmark, size: int, pairs: Sequence[tuple[Subject, str, str]]) -> str:
    """Relative errors of forces of one contender over those of another, by subject; empty where there are none.

    Parameters
    ----------
    pairs
        Subject, and the two contenders.
    """
    told: dict[str, list[str]] = {"errs less in": [], "errs more in": [], "within the spread in": []}
    for subject, new, old in pairs:
        a, b = (benchmark.relative(subject, name, size) for name in (new, old))
        if a is not None and b is not None:
            word = "errs less in" if b.exceeds(a) else "errs more in" if a.exceeds(b) else "within the spread in"
            told[word].append(f"{subject} ({number(a.median / b.median, 2)} times)")
    parts = [f"{word} {', '.join(names)}" for word, names in told.items() if names]
    return f"forces from {plural(size, 'label')}: " + "; ".join(parts) if parts else ""


def _more_labels(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What the last labels have given."""
    fewest = benchmark.sizes[0]
    if fewest == size:
        return
    for contender in benchmark.contenders:
        gained, rest = {}, 0
        for subject in benchmark.subjects:
            a, b = (benchmark.relative(subject, contender, n) for n in (fewest, size))
            if a is None or b is None:
                continue
            if a.exceeds(b):
                gained[subject] = a.median / b.median
            else:
                rest += 1
        if gained:
            text = f"from {fewest} to {size} labels errors of forces fall {_factors(list(gained.values()))}"
            most, least = (pick(gained, key=gained.__getitem__) for pick in (max, min))
            where = f", most in {most}, least in {least}" if len(gained) > 1 else f" in {most}"
            yield contender, text + where + _undecided(rest, "row")


@dataclass(frozen=True)
class Variation:
    """One numerical setting of one family, in order of its values."""

    base: str
    key: str
    values: tuple[float, ...]
    names: tuple[str, ...]


def variations(benchmark: TmBenchmark) -> list[Variation]:
    """Of each family of which one setting alone is varied, by numbers."""
    found = []
    contenders = benchmark.about["contenders"]
    for base in dict.fromkeys(c["base"] for c in contenders):
        own = [c for c in contenders if c["base"] == base]
        keys = {key for c in own for key in c["varied"]}
        if len(own) < 2 or len(keys) != 1:
            continue
        (key,) = keys
        if all(isinstance(c["varied"][key], (int, float)) for c in own):
            pairs = sorted((float(c["varied"][key]), c["name"]) for c in own)
            values, names = zip(*pairs, strict=True)
            found.append(Variation(base, key, values, names))
    return found


def _change(a: Spread, b: Spread) -> str:
    """``-35 %``, from the error `b` to the error `a`."""
    percent = f"{100.0 * (a.median / b.median - 1.0):+.0f} %".replace("-", "\N{MINUS SIGN}")
    return percent if a.exceeds(b) or b.exceeds(a) else f"{percent}, within the spread"


def _factors(values: Sequence[float]) -> str:
    low, high = number(min(values), 2), number(max(values), 2)
    return f"{low} times" if low == high else f"{low} to {high} times"


def _undecided(count: int, noun: str) -> str:
    return f", {plural(count, noun)} within the spread over the seeds" if count else ""
