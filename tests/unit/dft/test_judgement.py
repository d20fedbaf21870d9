"""What makes runs a label, on results made by hand: no program runs here."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import replay_vasp
from magflow.core.frame import Frame
from magflow.core.label import FailureKind
from magflow.core.units import HARTREE
from magflow.dft.abinit import AbinitEngine
from magflow.dft.abinit.calculation import AbinitCalculation, expected_bottom, moment_error
from magflow.dft.abinit.datasets import PawDataset
from magflow.dft.abinit.inputs import input_text
from magflow.dft.abinit.output import Output as AbinitOutput
from magflow.dft.vasp import VaspEngine
from magflow.dft.vasp.calculation import Rung, VaspCalculation
from magflow.dft.vasp.constraint import Held
from magflow.dft.vasp.output import Output as VaspOutput
from magflow.dft.vasp.potcars import find_potcars
from magflow.errors import InputError
from magflow.settings import load_settings

FRAME = Frame(("Al", "Fe"), 2.9 * np.eye(3), [[0, 0, 0], [1.47, 1.44, 1.40]], [0.1, 1.5])
ZERO = np.zeros((2, 3))


@pytest.fixture
def abinit(fake) -> AbinitCalculation:
    engine: AbinitEngine = fake()
    return engine.calculation(FRAME, engine.level_of_theory(["Al", "Fe"]), load_settings())


def abinit_output(calculation: AbinitCalculation, **changes) -> AbinitOutput:
    level = calculation.level_of_theory
    good = AbinitOutput(
        -650.0,
        ZERO,
        np.zeros(6),
        FRAME.magmoms[:, 2],
        np.zeros(2),
        True,
        20,
        1e-9,
        0.0,
        0.0,
        -5.0,
        {},
        "",
        level.version,
        {},
        FRAME.species,
        FRAME.cell,
        FRAME.positions @ np.linalg.inv(FRAME.cell),
    )
    return replace(good, **{"dataset_md5": dict(level.datasets)} | changes)


@pytest.mark.parametrize("changes", [{"version": "9.8.1"}, {"dataset_md5": {"Fe": "0" * 32}}])
def test_abinit_of_another_version_or_dataset_is_refused(abinit, changes):
    assert abinit.judge([abinit_output(abinit)], {}) is None
    assert abinit.judge([abinit_output(abinit, **changes)], {}).kind == FailureKind.INVALID_INPUT


def test_a_deep_state_is_a_ghost_only_once_the_density_has_settled(abinit):
    deep = {"lowest_state": -1341.0}
    assert abinit.judge([abinit_output(abinit, **deep)], {}).kind == FailureKind.GHOST_STATE
    unsettled = abinit_output(abinit, **deep, converged=False)
    assert abinit.judge([unsettled], {}).kind == FailureKind.SCF_UNCONVERGED


@pytest.mark.parametrize(
    ("kind", "allowed", "noise", "taken"),
    [
        ("spin-polarised", 0.02, {"force_noise": 0.015, "energy_noise": 4e-4}, True),
        ("non-magnetic", 0.02, {"force_noise": 0.015, "energy_noise": 4e-4}, True),
        ("spin-polarised", 0.02, {"force_noise": 0.03, "energy_noise": 0.0}, False),
        ("spin-polarised", 0.02, {"force_noise": 0.0, "energy_noise": 2e-3}, False),  # of two atoms
        ("spin-polarised", 0.0, {"force_noise": 0.001, "energy_noise": 0.0}, False),
        ("constrained", 0.02, {"force_noise": 0.0, "energy_noise": 0.0}, False),
    ],
)
def test_a_cycle_that_only_wavers_is_taken_where_its_noise_is_allowed(fake, kind, allowed, noise, taken):
    engine = fake(kind=kind, force_noise_ev_a=allowed)
    calculation = engine.calculation(FRAME, engine.level_of_theory(["Al", "Fe"]), load_settings())
    details: dict = {}
    failure = calculation.judge([abinit_output(calculation, converged=False, **noise)], details)
    if taken:
        assert failure is None
        assert details["noise"] == {"energy_ev": noise["energy_noise"], "forces_ev_a": noise["force_noise"]}
    else:
        assert failure.kind == FailureKind.SCF_UNCONVERGED
        assert "noise" not in details


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"species": ("Fe", "Al")}, "Fe Al instead of Al Fe"),
        ({"species": ("Al",)}, "Al instead of Al Fe"),
        ({"cell": 2.91 * np.eye(3)}, "off by 0.01 A"),
        ({"cell": np.nan * np.eye(3)}, "another cell"),
        ({"fractions": np.zeros((2, 3))}, "atom 2 is"),
        ({"fractions": np.full((2, 3), np.nan)}, "another structure"),
    ],
)
def test_the_output_of_another_structure_is_refused(abinit, changes, says):
    failure = abinit.judge([abinit_output(abinit, **changes)], {})
    assert failure.kind == FailureKind.INCONSISTENT
    assert says in failure.message


def test_whole_lattice_vectors_and_digits_make_no_other_structure(abinit):
    fractions = FRAME.positions @ np.linalg.inv(FRAME.cell) + np.array([[1, 0, -2], [0, 1, 1e-5]])
    assert abinit.judge([abinit_output(abinit, cell=FRAME.cell + 1e-6, fractions=fractions)], {}) is None


def planned(calculation: AbinitCalculation, *outcomes: dict) -> list[tuple[float, int, bool]]:
    """Pace, steps and damping of the attempts that follow from what the ones before gave."""
    results: list[AbinitOutput] = []
    attempts = []
    for attempt, changes in zip(calculation.steps(results), outcomes, strict=False):
        variables = attempt.variables
        attempts.append((variables["magcon_lambda"], variables["nstep"], "diemix" in variables))
        results.append(abinit_output(calculation, **changes))
    return attempts


def test_attempts_follow_from_what_the_ones_before_gave(abinit):
    unconverged, ghost, good = {"converged": False}, {"lowest_state": -90.0}, {}
    assert planned(abinit, good, good) == [(0.2, 60, False)]
    assert planned(abinit, *[unconverged] * 9) == [(0.2, 60, False), (0.05, 120, False), (0.0125, 180, False)]
    assert planned(abinit, ghost, ghost, good) == [(0.2, 60, False), (0.2, 120, True)]
    assert planned(abinit, ghost, unconverged, good) == [(0.2, 60, False), (0.2, 120, True), (0.05, 240, True)]


def test_free_atoms_miss_no_target():
    assert moment_error(FRAME, np.array([False, True]), np.array([0.9, 1.4])) == pytest.approx(0.1)
    assert moment_error(FRAME, np.array([False, False]), np.array([0.9, 1.4])) is None


def test_the_shift_of_the_mesh_is_written(abinit):
    settings = abinit.settings.model_copy(update={"shift": (0.5, 0.0, 0.25)})
    assert "shiftk 0.5 0 0.25\n" in input_text(settings, FRAME, abinit.datasets, {})


def at_distance(distance: float) -> Frame:
    return Frame(("Fe", "Fe"), 8 * np.eye(3), [[0, 0, 0], [distance, 0, 0]], [1.0, 1.0])


def test_overlap_counts_as_a_share_and_for_held_moments_only(fake, tmp_path):
    """Spheres of 2.2 bohr share 3.8 % of their volume at 1.95 A and 5.9 % at 1.85 A; 5 % are tolerated."""
    for distance, kind, fits in (
        (1.95, "constrained", True),
        (1.85, "constrained", False),
        (1.85, "spin-polarised", True),
    ):
        engine = fake(kind=kind)
        (tmp_path / f"{distance}{kind}").mkdir()
        label = engine.label(at_distance(distance), engine.level_of_theory(["Fe"]), tmp_path / f"{distance}{kind}")
        assert label.ok == fits, (distance, kind, label.failure)


def test_spheres_that_do_not_touch_fit_where_no_overlap_is_tolerated(fake, tmp_path):
    engine = fake(overlap_limit=0.0)
    assert engine.label(at_distance(3.0), engine.level_of_theory(["Fe"]), tmp_path).ok


def test_no_state_is_expected_below_the_levels_of_all_atoms():
    """The lowest level of one atom may lie below the highest of another."""
    iron, aluminium, unknown = (
        PawDataset(element, Path(), "", "PBE", 8.0, 2.2, levels)
        for element, levels in (("Fe", (-3.4, -0.2)), ("Al", (-0.3, -0.1)), ("Cr", None))
    )
    assert expected_bottom([iron]) == pytest.approx((-3.4 + 0.2 - 1.0) * HARTREE)
    assert expected_bottom([iron, aluminium]) == pytest.approx((-3.4 + 0.1 - 1.0) * HARTREE)
    assert expected_bottom([iron, unknown]) == -np.inf


def test_all_runs_share_one_time_limit(replayed, tmp_path, monkeypatch):
    from magflow.dft import calculation

    run, limits = calculation.run_program, []

    def watched(command, **options):
        limits.append(options["time_limit_s"])
        return run(command, **options)

    monkeypatch.setattr(calculation, "run_program", watched)
    engine = vasp_engine(time_limit_s=1000.0)
    assert engine.label(FRAME, engine.level_of_theory(["Al", "Fe"]), tmp_path).attempts == 3
    assert all(later < earlier for earlier, later in pairwise([1000.0, *limits]))


def vasp_engine(**changes) -> VaspEngine:
    fixed = {"version": replay_vasp.VERSION, "command": "true", "kpoints": (1, 1, 1), "overlap_limit": 1.0}
    return VaspEngine(**fixed | changes)


@pytest.fixture
def vasp(potcars) -> VaspCalculation:
    engine = vasp_engine()
    return engine.calculation(FRAME, engine.level_of_theory(["Al", "Fe"]), load_settings())


def rung(energy: float = -10.0, off: tuple[float, float, float] = (0, 0, 0), force: float = 0.0, **changes) -> Rung:
    """A run in VASP's order (Al, Fe), moments at their targets but for that of Fe, `off` by some muB."""
    moments = FRAME.magmoms + np.array([[0, 0, 0], off])
    forces = np.array([[0, 0, 0], [0, 0, force]])
    titles = tuple(replay_vasp.TITLE.format(e) for e in ("Al", "Fe"))
    place = (FRAME.cell, FRAME.positions @ np.linalg.inv(FRAME.cell))
    output = VaspOutput(
        energy, ZERO, np.zeros(6), None, True, 12, 1e-8, replay_vasp.VERSION, ("Al", "Fe"), titles, *place
    )
    return Rung(replace(output, **changes), Held(moments, forces, np.zeros(2), 0.0, 0.0, True, {}))


@pytest.mark.parametrize(
    "changes",
    [{"titles": ("PAW_PBE Al 04Jan2001", "PAW_PBE Fe 06Sep2000")}, {"version": "5.4.4"}, {"elements": ("Fe", "Al")}],
)
def test_vasp_of_another_version_or_potcar_is_foreign(vasp, changes):
    assert vasp.foreign(rung().output) is None
    assert vasp.foreign(rung(**changes).output) is not None


def test_collinear_moments_stay_on_their_axis(vasp):
    for off in ((0.06, 0, 0), (0, -0.06, 0)):
        assert vasp.judge([rung(off=tuple(0.5 * x for x in off))], {}) is None
        assert vasp.judge([rung(off=off)], {}).kind == FailureKind.MOMENT_TARGET_MISSED


def test_a_ladder_must_agree_with_its_forces_where_both_ends_converged(vasp):
    """The energy falls by 0.1 eV; a force of 1 eV/muB along 0.1 muB explains it, half or twice that does not."""
    for force, fits in ((1.0, True), (0.5, False), (2.0, False), (-1.0, False)):
        lower, upper = rung(force=force), rung(energy=-10.1, force=force, off=(0, 0, 0.1))
        verdict = vasp.judge([lower, upper], {})
        assert (verdict is None) == fits, force
        assert fits or verdict.kind == FailureKind.INCONSISTENT
    unconverged = rung(force=-1.0, converged=False)
    assert vasp.judge([unconverged, rung(energy=-10.1, force=-1.0, off=(0, 0, 0.1))], {}) is None


@pytest.mark.parametrize(("left", "start"), [(("WAVECAR",), "0"), (("WAVECAR", "CHGCAR"), "1"), ((), "0")])
def test_a_run_starts_from_orbitals_and_density_or_from_neither(vasp, tmp_path, left, start):
    before, folder = tmp_path / "run-1", tmp_path / "run-2"
    before.mkdir()
    folder.mkdir()
    for name in left:
        (before / name).write_text("")
    second = list(vasp.steps([]))[1]
    vasp.write(folder, second, (before, rung()))
    assert replay_vasp.read_incar((folder / "INCAR").read_text())["ISTART"] == [start]


def test_radii_are_in_angstrom(fake, potcars):
    assert fake().sphere_radii(["Fe"])["Fe"] == pytest.approx(1.16419, abs=1e-5)
    assert vasp_engine().sphere_radii(["Fe"]) == {"Fe": find_potcars(vasp_engine(), ["Fe"])["Fe"].rwigs_a}
    with pytest.raises(InputError, match="no sphere radius"):
        fake(ratsph_bohr={"Al": 2.2}).sphere_radii(["Fe"])
