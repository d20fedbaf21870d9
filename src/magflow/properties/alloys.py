"""Lattices and crystals that alloys start from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from magflow.core.frame import Frame
from magflow.explore.geometry import repeated
from magflow.properties.subject import Subject


def share(frame: Frame, element: str) -> float:
    """Of the atoms of `frame` that are of one element."""
    return frame.species.count(element) / len(frame)


def of_both(subject: Subject, other: str) -> Subject:
    """`subject` whose moments have bounds for the element `other`, too."""
    frame = subject.frame
    if other not in frame.species:
        twice = repeated(frame, (2, 1, 1))
        frame = Frame((*twice.species[:-1], other), twice.cell, twice.positions, twice.magmoms)
    return replace(subject, frame=frame)


def blown_up(alloy: Frame, host: Frame, pure: Frame) -> Frame:
    """`alloy`, on the lattice of `host`, with the volume that its elements have by themselves."""
    x = share(alloy, pure.species[0])
    factor = float(np.cbrt(1.0 - x + x * (pure.volume / len(pure)) / (host.volume / len(host))))
    return alloy.replace(cell=factor * alloy.cell, positions=factor * alloy.positions)


def all_of_first(frame: Frame) -> Frame:
    """The lattice of `frame` with its first element on all sites; those of others start from its first moment."""
    first = frame.species[0]
    magmoms = frame.magmoms
    if magmoms is not None:
        own = np.array([s == first for s in frame.species])
        magmoms = np.where(own[:, None], magmoms, magmoms[0])
    return Frame((first,) * len(frame), frame.cell, frame.positions, magmoms)


def crystal_of(element: str, subject: Subject) -> Frame:
    """The crystal of an element as ASE lists it; its moments start at their bounds, or at zero as all of `subject`."""
    from ase.build import bulk

    atoms = bulk(element)
    frame = Frame(tuple(atoms.symbols), np.array(atoms.cell), atoms.positions)
    if subject.bounds is None or subject.frame.magmoms is None:
        return frame
    size = subject.bounds[element][1] if subject.frame.magmoms.any() else 0.0
    return frame.replace(magmoms=np.full(len(frame), size))


def no_crystal(element: str) -> str:
    """That ASE builds no crystal of an element; empty if it does."""
    from ase.build import bulk

    try:
        bulk(element)
    except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        return f"no crystal of {element} by itself is known: {error}"
    return ""
