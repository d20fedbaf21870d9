"""The contract of a label engine (:class:`magflow.core.protocols.LabelEngine`)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np

from magflow.core import plugins
from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory, label_id
from magflow.core.protocols import LabelEngine, Probe
from magflow.core.types import FloatArray
from magflow.testing.contract import agree, clause, demand, given
from magflow.testing.settings import SettingsContract

TWO_ATOMS = Frame(("Fe", "Al"), 2.884 * np.eye(3), np.array([[0.02, 0, 0], [1.47, 1.44, 1.40]]), np.array([1.5, -0.02]))
"""A displaced cell of B2 Fe-Al."""

_SAME = 1e-9  # eV, muB, eV/muB: two calculations of one frame


@dataclass(frozen=True, eq=False)
class LabelEngineContract(SettingsContract):
    """What every label engine keeps; it makes some ten calculations of a frame.

    Parameters
    ----------
    plugin
        The engine, with settings as coarse as the tolerance bears; its kind is constrained, if it makes such labels.
    frame
        Two atoms of different elements with collinear moments, off equilibrium.
    step
        Of the finite differences, A and muB.
    tolerance
        Of a derivative by differences, eV/A and eV/muB.
    kinds
        Kinds of label it makes.
    """

    group: ClassVar[str] = plugins.LABEL_ENGINES

    frame: Frame = TWO_ATOMS
    step: float = 1e-3
    tolerance: float = 1e-5
    kinds: Sequence[LabelKind] = tuple(LabelKind)

    @cached_property
    def level(self) -> LevelOfTheory:
        """Level of theory of the frame."""
        level: LevelOfTheory = self.plugin.level_of_theory(self.frame.species)
        return level

    @cached_property
    def result(self) -> Label:
        """The label of the frame, which most clauses look at."""
        return self.label(self.frame)

    def label(self, frame: Frame, engine: LabelEngine | None = None) -> Label:
        """Label a frame in an empty directory."""
        labels: LabelEngine = engine or self.plugin
        with tempfile.TemporaryDirectory(prefix="magflow-contract-") as workdir:
            return labels.label(frame, labels.level_of_theory(frame.species), Path(workdir))

    def of_kind(self, kind: LabelKind) -> Any:
        """The engine with the same settings for another kind of label."""
        return type(self.plugin)(**self.plugin.model_dump(exclude_unset=True) | {"kind": kind})

    @clause
    def is_a_label_engine(self) -> None:
        """It has everything the protocol names."""
        demand(isinstance(self.plugin, LabelEngine), "it lacks something of magflow.core.protocols.LabelEngine")
        demand(isinstance(self.plugin.kind, LabelKind), f"kind is {self.plugin.kind!r}")

    @clause
    def every_kind_has_its_own_level_of_theory(self) -> None:
        """The level of theory says which kind of label it is."""
        for kind in self.kinds:
            found = self.of_kind(kind).level_of_theory(self.frame.species).kind
            demand(found == kind, f"an engine of kind {kind} has a level of kind {found}")

    @clause
    def level_of_theory_is_stable_and_goes_through_json(self) -> None:
        """Its fingerprint depends on the elements alone, not on their order or number, and outlives JSON."""
        elements = list(self.frame.species)
        other = self.plugin.level_of_theory([*reversed(elements), elements[0]])
        demand(other.fingerprint == self.level.fingerprint, f"{elements} in another order have another fingerprint")
        again = LevelOfTheory.from_dict(json.loads(json.dumps(self.level.as_dict())))
        demand(again.fingerprint == self.level.fingerprint, "JSON gives another fingerprint")

    @clause
    def probe_reports_and_never_raises(self) -> None:
        """All is there for the frame's elements; for an element that does not exist it says what to do."""
        good = self.plugin.probe(self.frame.species)
        demand(good and all(isinstance(p, Probe) and p.ok for p in good), f"probe finds {good}")
        bad = [p for p in self.plugin.probe(["Xx"]) if not p.ok]
        demand(bad, "probe finds nothing wrong with the element Xx")
        demand(all(p.hint for p in bad), f"a problem without a hint: {bad}")

    @clause
    def label_belongs_to_the_frame(self) -> None:
        """label_id is that of the frame at the level of theory."""
        demand(self.result.ok, f"the label has failed: {self.result.failure}")
        expected = label_id(self.frame.frame_id, self.level)
        demand(self.result.label_id == expected, f"label_id {self.result.label_id}, expected {expected}")

    @clause
    def label_is_complete(self) -> None:
        """Energy, forces that sum to nothing, stress, the moments that were asked for, magnetic forces, cost."""
        label = self.result
        demand(label.ok, f"the label has failed: {label.failure}")
        demand(label.attempts >= 1, f"attempts: {label.attempts}")
        demand(label.cost.cpu_seconds > 0 and label.cost.wall_seconds > 0, f"it costs nothing: {label.cost}")
        LabeledFrame(self.frame, label)  # shapes
        demand(np.isfinite(given(label.energy, "energy")), f"energy: {label.energy}")
        demand(label.stress is not None, "no stress")
        demand(label.magnetic_forces is not None, "no magnetic forces")
        agree(label.magmoms, self.frame.magmoms, "moments, muB", atol=1e-3)
        total = given(label.forces, "forces").sum(axis=0)
        agree(total, np.zeros(3), "sum of the forces, eV/A", atol=1e-6)
        json.dumps(dict(label.details))

    @clause
    def same_frame_same_label(self) -> None:
        """A second calculation gives the same numbers."""
        again = self.label(self.frame)
        agree(again.energy, self.result.energy, "energy, eV", atol=_SAME)
        agree(again.magnetic_forces, self.result.magnetic_forces, "magnetic forces", atol=1e-8)

    @clause
    def leftovers_of_an_interrupted_attempt_do_not_matter(self) -> None:
        """A directory with halves of files and strange ones gives the same label."""
        with tempfile.TemporaryDirectory(prefix="magflow-contract-") as name:
            workdir = Path(name)
            first = self.plugin.label(self.frame, self.level, workdir)
            demand(first.ok, f"the label has failed: {first.failure}")
            for path in [p for p in workdir.rglob("*") if p.is_file()]:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            (workdir / "stray").write_text("something")
            again = self.plugin.label(self.frame, self.level, workdir)
        demand(again.ok, f"the second label has failed: {again.failure}")
        agree(again.energy, self.result.energy, "energy, eV", atol=_SAME)

    @clause
    def time_reversal(self) -> None:
        """M and -M have one label: the same id and energy, moments and magnetic forces with the other sign."""
        reverse = self.label(self.frame.time_reversed())
        demand(reverse.label_id == self.result.label_id, "M and -M have different label ids")
        turned = reverse.for_frame(self.frame)
        agree(turned.energy, self.result.energy, "energy, eV", atol=_SAME)
        agree(turned.magmoms, self.result.magmoms, "moments, muB", atol=_SAME)
        agree(turned.magnetic_forces, self.result.magnetic_forces, "magnetic forces", atol=_SAME)

    @clause
    def forces_are_minus_the_gradient(self) -> None:
        """Forces are -dE/dr, by finite differences along opposite displacements."""
        along = np.array([[0.6, -0.5, 0.62], [-0.6, 0.5, -0.62]])
        self._is_derivative("positions", along, self.result.forces, "force along a displacement, eV/A")

    @clause
    def magnetic_forces_are_minus_the_derivative_by_the_moments(self) -> None:
        """Magnetic forces are -dE/dm, by finite differences along z."""
        along = np.array([[0, 0, 0.8], [0, 0, -0.6]])
        self._is_derivative("magmoms", along, self.result.magnetic_forces, "magnetic force along a turn, eV/muB")

    def _is_derivative(self, of: str, along: FloatArray, forces: FloatArray | None, what: str) -> None:
        start = getattr(self.frame, of)
        moved = (self.frame.replace(**{of: start + s * self.step * along}) for s in (1, -1))
        up, down = (given(self.label(frame).energy, "energy of a moved frame") for frame in moved)
        agree(np.sum(given(forces, "forces") * along), (down - up) / (2 * self.step), what, atol=self.tolerance)

    @clause
    def a_constrained_label_without_moments_fails_as_a_label(self) -> None:
        """What cannot be calculated comes back as a failed label with a reason, without numbers."""
        label = self.label(self.frame.non_magnetic())
        demand(not label.ok, "a frame without moments has a constrained label")
        demand(label.failure is not None and label.failure.message, "no reason is given")
        demand(label.energy is None, f"a failed label has the energy {label.energy}")

    @clause
    def free_and_non_magnetic_labels(self) -> None:
        """Without a constraint there are no magnetic forces, and the free energy is not above the constrained one."""
        for kind in (LabelKind.SPIN_POLARISED, LabelKind.NON_MAGNETIC):
            if kind not in self.kinds:
                raise SkipTest(f"makes no labels of kind {kind}")
            label = self.label(self.frame, self.of_kind(kind))
            demand(label.ok, f"{kind}: the label has failed: {label.failure}")
            demand(label.magnetic_forces is None, f"{kind}: magnetic forces without a constraint")
            if kind is LabelKind.NON_MAGNETIC:
                demand(label.magmoms is None, "non-magnetic: moments")
            else:
                agree(given(label.magmoms, "moments").shape, (len(self.frame), 3), "shape of the moments")
                above = given(label.energy, "energy") - given(self.result.energy, "energy")
                demand(above <= 1e-6, f"the free energy is {above:.3g} eV above the constrained one")
