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
    told = (_early_and_late, _smearing, _moments, _larger, _families, _more_labels)
    return [finding for tell in told for finding in tell(benchmark, size)]


def _early_and_late(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """Whether metals of columns 3 to 8 are harder than those of columns 9 to 12, at each smearing by itself."""
    for smearing in dict.fromkeys(map(benchmark.smearing, benchmark.rows)):
        rows = [row for row in benchmark.rows if benchmark.smearing(row) == smearing]
        at = f" at {smearing}" if smearing else ""
        yield from _sides(benchmark, rows, f"from {plural(size, 'label')}{at}", size)


def _sides(benchmark: TmBenchmark, rows: Sequence[str], which: str, size: int) -> Iterator[Finding]:
    columns = {name: benchmark.about["rows"][name]["column"] for name in rows}
    metals: dict[range, list[str]] = {EARLY: [], LATE: []}
    told = []
    for contender in benchmark.contenders:
        known = {row: _of_row(benchmark, row, contender, size) for row in rows}
        found = {row: spread for row, spread in known.items() if spread is not None}
        pairs = [(found[a], found[b]) for a in found for b in found if columns[a] in EARLY and columns[b] in LATE]
        if not pairs:
            continue
        for part, names in metals.items():
            names += [row for row in found if columns[row] in part and row not in names]
        harder = sum(a.exceeds(b) for a, b in pairs)
        easier = sum(b.exceeds(a) for a, b in pairs)
        counts = f"harder in {harder} of {plural(len(pairs), 'pair')}, easier in {easier}"
        rest = _undecided(len(pairs) - harder - easier)
        told.append(f"{contender}: {_factors([a.median / b.median for a, b in pairs])}, {counts}{rest}")
    if told:
        early, late = (", ".join(names) for names in metals.values())
        text = f"{early} beside late ones ({late}), relative error of forces {which}: "
        yield "Early and middle d metals", text + "; ".join(told)


def _smearing(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What the largest smearing of the same elements gives beside the smallest."""
    for contender in benchmark.contenders:
        both = [(subjects[-1], subjects[0]) for subjects in benchmark.smeared]
        errors = [
            (
                f"{new} beside {old}",
                benchmark.relative(new, contender, size),
                benchmark.relative(old, contender, size),
            )
            for new, old in both
        ]
        if told := _compared(size, errors):
            yield f"Larger smearing, {contender}", told


def _of_row(benchmark: TmBenchmark, row: str, contender: str, size: int) -> Spread | None:
    """The relative error of a row: with its moments read, where that is possible."""
    spreads = [benchmark.relative(Subject(row, reading), contender, size) for reading in Reading]
    return next((spread for spread in spreads if spread is not None), None)


def _moments(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What reading moments is worth."""
    for subject in benchmark.subjects:
        if subject.reading is not Reading.READ:
            continue
        told = []
        for contender in benchmark.contenders:
            changes = _changes(benchmark, subject, contender, size)
            told += [f"{contender}: {', '.join(changes)}"] * bool(changes)
        if told:
            yield subject.row, f"with moments as input, {plural(size, 'label')}: {'; '.join(told)}"


def _changes(benchmark: TmBenchmark, read: Subject, contender: str, size: int) -> list[str]:
    """Quantity by quantity, what moments as input change of the error."""
    out = []
    for quantity in ("forces", "energy", "stress"):
        a, b = (
            benchmark.error(Subject(read.row, reading), contender, size, quantity)
            for reading in (Reading.READ, Reading.IGNORED)
        )
        if a is not None and b is not None:
            out.append(f"{quantity} {_change(a, b)}")
    return out


def _larger(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What the largest (of words, the last) value of a varied setting gives beside the smallest (the first)."""
    for variation in variations(benchmark):
        pairs = [(subject, variation.names[-1], variation.names[0]) for subject in benchmark.subjects]
        what = f"{variation.key} {variation.words[-1]} instead of {variation.words[0]}"
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
    errors = [
        (str(subject), benchmark.relative(subject, new, size), benchmark.relative(subject, old, size))
        for subject, new, old in pairs
    ]
    return _compared(size, errors)


def _compared(size: int, errors: Sequence[tuple[str, Spread | None, Spread | None]]) -> str:
    """Errors over others by name, and which of them differ; empty where there are none."""
    told: dict[str, list[str]] = {"errs less in": [], "errs more in": [], "within the spread in": []}
    for name, a, b in errors:
        if a is not None and b is not None:
            word = "errs less in" if b.exceeds(a) else "errs more in" if a.exceeds(b) else "within the spread in"
            told[word].append(f"{name} ({number(a.median / b.median, 2)} times)")
    parts = [f"{word} {', '.join(names)}" for word, names in told.items() if names]
    return f"forces from {plural(size, 'label')}: " + "; ".join(parts) if parts else ""


def _more_labels(benchmark: TmBenchmark, size: int) -> Iterator[Finding]:
    """What the last labels have given."""
    fewest = benchmark.sizes[0]
    told = []
    for contender in benchmark.contenders if fewest < size else ():
        both = [[benchmark.relative(s, contender, n) for n in (fewest, size)] for s in benchmark.subjects]
        pairs = [(a, b) for a, b in both if a is not None and b is not None]
        gained = [a.median / b.median for a, b in pairs if a.exceeds(b)]
        if gained:
            told.append(f"{contender}: {_factors(gained)}{_undecided(len(pairs) - len(gained))}")
    if told:
        yield f"From {fewest} to {size} labels", "errors of forces fall: " + "; ".join(told)


@dataclass(frozen=True)
class Variation:
    """One setting of one family: numbers by their size, words as they were asked for.

    Parameters
    ----------
    names
        The contender of each value.
    """

    base: str
    key: str
    values: tuple[float | str, ...]
    names: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The values, for a person."""
        return [value if isinstance(value, str) else f"{value:g}" for value in self.values]

    @property
    def places(self) -> tuple[float, ...]:
        """Where the values stand on an axis: words one after another."""
        return tuple(float(k) if isinstance(value, str) else value for k, value in enumerate(self.values))


def variations(benchmark: TmBenchmark) -> list[Variation]:
    """Each setting that is varied alone, family by family."""
    found = []
    contenders = benchmark.about["contenders"]
    for base in dict.fromkeys(c["base"] for c in contenders):
        varied = [c for c in contenders if c["base"] == base and len(c["varied"]) == 1]
        for key in dict.fromkeys(key for c in varied for key in c["varied"]):
            names = {c["varied"][key]: c["name"] for c in varied if key in c["varied"]}
            numbers = all(isinstance(value, (int, float)) for value in names)
            values = sorted(names) if numbers else list(names)
            if len(values) > 1 and (numbers or all(isinstance(value, str) for value in values)):
                found.append(Variation(base, key, tuple(values), tuple(names[value] for value in values)))
    return found


def _change(a: Spread, b: Spread) -> str:
    """``-35 %``, from the error `b` to the error `a`."""
    percent = f"{100.0 * (a.median / b.median - 1.0):+.0f} %".replace("-", "\N{MINUS SIGN}")
    return percent if a.exceeds(b) or b.exceeds(a) else f"{percent} (within the spread)"


def _factors(values: Sequence[float]) -> str:
    low, high = number(min(values), 2), number(max(values), 2)
    return f"{low} times" if low == high else f"{low} to {high} times"


def _undecided(count: int) -> str:
    return f", {count} within the spread" if count else ""
