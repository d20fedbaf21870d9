"""Which names of a frame stand for which quantity, decided once for all frames that have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from magflow.io.findings import Fate
from magflow.io.quantities import Chosen, Quantity, is_prediction, resembles, spelled

Note = tuple[Fate, str]


@dataclass(frozen=True)
class Names:
    """What the names of one frame mean.

    Parameters
    ----------
    found
        Quantity to the (name, factor) that stand for it, the house's own name first.
    dropped
        Names of quantities that are to be taken out of the frame: a user's keys take others, or none.
    notes
        What a user is to be told about them: per-frame names and columns read under another name, or not read.
    """

    found: Mapping[Quantity, tuple[tuple[str, float], ...]]
    dropped: tuple[str, ...]
    notes: tuple[Note, ...]


@lru_cache(maxsize=1024)
def understand(info: tuple[str, ...], columns: tuple[str, ...], keys: tuple[tuple[Quantity, Chosen], ...]) -> Names:
    """The meaning of the names of the comment line (`info`) and of the columns; `keys` are a user's own."""
    chosen = dict(keys)
    found: dict[Quantity, list[tuple[str, float]]] = {}
    dropped: list[str] = []
    notes: list[Note] = []
    for names, per_atom in ((info, False), (columns, True)):
        for name in names:
            note = _place(name, per_atom, chosen, found)
            notes += [note] if note else []
            dropped += [name] if note and note[0] is Fate.LEFT_OUT else []
    ordered = {q: tuple(sorted(known, key=lambda pair: pair[0] not in set(Quantity))) for q, known in found.items()}
    told = [
        (Fate.READ, f"{quantity} from {_called(name, quantity.per_atom)}{_changed(factor)}")
        for quantity, known in ordered.items()
        for name, factor in known
        if name != quantity or factor != 1.0
    ]
    return Names(ordered, tuple(dropped), (*told, *notes))


def _place(
    name: str, per_atom: bool, chosen: Mapping[Quantity, Chosen], found: dict[Quantity, list[tuple[str, float]]]
) -> Note | None:
    """Put `name` where it belongs, or say why it is not read."""
    wanted = next((q for q, c in chosen.items() if c.name == name and q.per_atom == per_atom), None)
    if wanted is not None:
        found.setdefault(wanted, []).append((name, chosen[wanted].factor))
        return None
    called, spelling = _called(name, per_atom), spelled(name)
    if spelling is not None and spelling.quantity in chosen:
        return Fate.LEFT_OUT, f"{called}: --keys takes another for {spelling.quantity}, or none"
    if spelling is not None and spelling.quantity.per_atom == per_atom:
        found.setdefault(spelling.quantity, []).append((name, spelling.factor))
        return None
    if is_prediction(name):
        return Fate.KEPT, f"{called}: a prediction by its name"
    like = resembles(name) if spelling is None else spelling.quantity
    if like is None:
        return Fate.EXTRA, called
    if like.per_atom == per_atom:
        return Fate.KEPT, f"{called}: resembles {like}; --keys {like}={name} reads it"
    return Fate.KEPT, f"{called}: resembles {like}, but is of {'atoms' if per_atom else 'the frame'}"


def _called(name: str, per_atom: bool) -> str:
    return f"the {'column' if per_atom else 'key'} {name}"


def _changed(factor: float) -> str:
    return "" if factor == 1.0 else ", sign reversed" if factor == -1.0 else f", times {factor:.6g}"
