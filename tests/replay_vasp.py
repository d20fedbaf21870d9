"""A program that leaves the files VASP leaves, with the numbers of the spin-lattice model Hamiltonian. It is not VASP.

It reads INCAR, POSCAR, KPOINTS and POTCAR of the folder it is started in, as VASP would, minimises the energy of the
model with the constraint that INCAR asks for, and writes OSZICAR, OUTCAR, vasprun.xml and a log in VASP's formats and
with VASP's digits. The formulas of the constraints are written down here a second time, on purpose.
``REPLAY_VASP`` names what is to go wrong.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magflow.core.frame import Frame
from magflow.dft.spin_lattice.model import SpinLatticeModel

VERSION = "6.4.2"
TITLE = "PAW_PBE {} 06Sep2000"
KBAR_PER_EV_A3 = 1602.1766208

POTCAR = """  {title}
   {valence:.14f}
 parameters from PSCTR are:
   VRHFIN ={element}:  d7 s1
   LEXCH  = {exchange}
   EATOM  =   594.4687 eV,   43.6922 Ry

   TITEL  = {title}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =    2.000    partial core radius
   POMASS =   55.847; ZVAL   =    {valence:.3f}    mass and valenz
   RCORE  =    2.300    outmost cutoff radius
   RWIGS  =    2.200; RWIGS  =    {rwigs:.3f}    wigner-seitz radius (au A)
   ENMAX  =  267.882; ENMIN  =  200.911 eV
   LPAW   =        T    paw PP
 END of PSCTR-controll parameters
 a stand-in, no pseudopotential
   0.10000000E+01  0.20000000E+01
End of Dataset
"""


def write_potcars(folder: Path, release: str = "POT_GGA_PAW_PBE_54", exchange: str = "PE") -> Path:
    """A folder of stand-in POTCARs (headers only), as pymatgen looks for them."""
    for element, valence, rwigs in (("Fe", 8, 1.164), ("Al", 3, 1.1), ("Ni", 10, 1.286), ("O", 6, 0.82)):
        (folder / release / element).mkdir(parents=True)
        text = POTCAR.format(
            title=TITLE.format(element), valence=valence, element=element, rwigs=rwigs, exchange=exchange
        )
        (folder / release / element / "POTCAR").write_text(text)
    return folder


def read_incar(text: str) -> dict[str, list[str]]:
    """Tag to its words; ``3*0`` is unfolded and a backslash goes on with the next line."""
    assert max(map(len, text.splitlines())) < 255, "VASP 5 would not read such a line"
    tags = {}
    for line in re.sub(r"\\\s*\n", " ", text).splitlines():
        name, _, value = line.partition("=")
        words = []
        for word in value.split():
            count, star, number = word.partition("*")
            words += [number] * int(count) if star else [word]
        tags[name.strip()] = words
    return tags


def read_poscar(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Species of each atom, cell (A), fractional positions."""
    lines = text.splitlines()
    cell = np.array([line.split() for line in lines[2:5]], dtype=float)
    counts = [int(n) for n in lines[6].split()]
    species = [s for s, n in zip(lines[5].split(), counts, strict=True) for _ in range(n)]
    positions = np.array([line.split()[:3] for line in lines[8 : 8 + len(species)]], dtype=float)
    assert np.linalg.det(cell) > 0, "VASP stops at a left-handed cell"
    return species, cell, positions


@dataclass
class Result:
    energy: float  # with the penalty
    penalty: float
    forces: np.ndarray
    stress: np.ndarray
    moments: np.ndarray
    deviation: np.ndarray
    multipliers: np.ndarray


class Run:
    """One calculation in the current folder."""

    def __init__(self) -> None:
        self.mode = os.environ.get("REPLAY_VASP", "")
        self.incar = read_incar(Path("INCAR").read_text())
        self.species, self.cell, self.positions = read_poscar(Path("POSCAR").read_text())
        self.n = len(self.species)
        titles = re.findall(r"TITEL\s*=\s*(.*)", Path("POTCAR").read_text())
        self.elements = list(dict.fromkeys(self.species))
        assert [t.split()[1] for t in titles] == self.elements, "POTCAR and POSCAR do not match"
        self.titles = [t.strip() for t in titles]
        self.polarised = self.incar["ISPIN"] == ["2"]
        self.vectors = self.incar.get("LNONCOLLINEAR") == ["True"]
        self.constraint = int(self.incar.get("I_CONSTRAINED_M", ["0"])[0])
        self.deltaspin = "SCTYPE" in self.incar
        self.steps = int(self.incar["NELM"][0]) if self.mode == "unconverged" else 12
        magmom = np.array(self.incar.get("MAGMOM", []), dtype=float)
        self.start = np.zeros((self.n, 3))
        if self.polarised:
            self.start[:, slice(None) if self.vectors else 2] = magmom.reshape(self.n, -1) if self.vectors else magmom
        if self.constraint:
            assert len(self.incar["RWIGS"]) == len(self.elements)
            self.target = np.array(self.incar["M_CONSTR"], dtype=float).reshape(self.n, 3)
            if self.mode == "wrong-order":
                self.target = self.target[::-1]
            self.held = (
                np.array(self.incar["CONSTRL"], dtype=int).reshape(self.n, 3).all(axis=1)
                if self.deltaspin
                else np.linalg.norm(self.target, axis=1) > 0
            )
            self.strength = float(self.incar["LAMBDA"][0])

    def model(self, moments: np.ndarray):
        frame = Frame(tuple(self.species), self.cell, self.positions @ self.cell, moments)
        return SpinLatticeModel().predict([frame])

    def deviation(self, m: np.ndarray) -> np.ndarray:
        d = m - self.target
        if self.constraint != 2:
            e = self.target / np.maximum(np.linalg.norm(self.target, axis=1), 1e-12)[:, None]
            d = m - e * (m * e).sum(1)[:, None]
        return d * self.held[:, None]

    def penalty(self, m: np.ndarray) -> tuple[float, np.ndarray]:
        """E_p and its gradient by hand."""
        if not self.constraint or self.deltaspin:
            return 0.0, np.zeros_like(m)
        if self.constraint == 4:
            e = self.target / np.maximum(np.linalg.norm(self.target, axis=1), 1e-12)[:, None]
            length = np.linalg.norm(m, axis=1)
            energy = self.strength * np.sum(self.held * (length - (m * e).sum(1)))
            return energy, self.strength * self.held[:, None] * (m / length[:, None] - e)
        d = self.deviation(m)
        return self.strength * np.sum(d * d), 2 * self.strength * d

    def solve(self) -> Result:
        m = self.start.copy()
        free = np.ones(self.n, bool)
        if self.deltaspin:
            m, free = np.where(self.held[:, None], self.target, m), ~self.held
        if self.polarised and free.any():
            m = self.relax(m, free)
        p = self.model(m)
        e_p, _ = self.penalty(m)
        multipliers = np.zeros_like(m)
        if self.deltaspin:
            multipliers = -p.magnetic_forces * self.held[:, None]
        deviation = self.deviation(m) if self.constraint else np.zeros_like(m)
        return Result(float(p.energy[0]) + e_p, e_p, p.forces, p.stress[0], m, deviation, multipliers)

    def relax(self, m: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Minimum over the free moments: quasi-Newton, then two Newton steps."""
        from scipy.optimize import minimize

        m = m.copy()

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            m[free] = x.reshape(-1, 3)
            p, (e_p, gradient) = self.model(m), self.penalty(m)
            return float(p.energy[0]) + e_p, (gradient - p.magnetic_forces)[free].ravel()

        x = minimize(
            evaluate, m[free].ravel(), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-7, "maxiter": 100}
        ).x
        for _ in range(2):
            gradient = evaluate(x)[1]
            hessian = np.array([(evaluate(x + 1e-5 * e)[1] - evaluate(x - 1e-5 * e)[1]) / 2e-5 for e in np.eye(len(x))])
            x = x - np.linalg.lstsq(hessian, gradient, rcond=1e-6)[0]
        m[free] = x.reshape(-1, 3)
        return m


def rows(values: np.ndarray, form: str = "{:15.8f}") -> str:
    return "\n".join("   <v>" + " ".join(form.format(x) for x in row) + " </v>" for row in np.atleast_2d(values))


def structure(run: Run, name: str = "") -> str:
    reciprocal = np.linalg.inv(run.cell).T
    return f""" <structure{name}>
  <crystal>
  <varray name="basis" >
{rows(run.cell)}
  </varray>
  <i name="volume">{abs(np.linalg.det(run.cell)):15.8f}</i>
  <varray name="rec_basis" >
{rows(reciprocal)}
  </varray>
  </crystal>
  <varray name="positions" >
{rows(run.positions)}
  </varray>
 </structure>
"""


def energies(free: float) -> str:
    return f"""   <energy>
    <i name="e_fr_energy">{free:18.8f} </i>
    <i name="e_wo_entrp">{free:18.8f} </i>
    <i name="e_0_energy">{free:18.8f} </i>
   </energy>
"""


def parameters(run: Run) -> str:
    spin = 2 if run.polarised and not run.vectors else 1
    incar = "".join(f'  <i type="string" name="{k}">{" ".join(v)}</i>\n' for k, v in run.incar.items() if len(v) == 1)
    moments = " ".join(f"{x:.8f}" for x in (run.start if run.vectors else run.start[:, 2]).ravel())
    return f""" <incar>
{incar} </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions"> 1 1 1 </v>
   <v name="usershift"> 0.0 0.0 0.0 </v>
   <v name="genvec1"> 1.0 0.0 0.0 </v>
   <v name="genvec2"> 0.0 1.0 0.0 </v>
   <v name="genvec3"> 0.0 0.0 1.0 </v>
   <v name="shift"> 0.0 0.0 0.0 </v>
  </generation>
  <varray name="kpointlist" >
   <v> 0.0 0.0 0.0 </v>
  </varray>
  <varray name="weights" >
   <v> 1.0 </v>
  </varray>
 </kpoints>
 <parameters>
  <i type="int" name="NELM">{run.incar["NELM"][0]}</i>
  <i type="int" name="NSW">0</i>
  <i type="int" name="IBRION">-1</i>
  <i type="int" name="ISPIN">{spin}</i>
  <i type="int" name="ISIF">2</i>
  <i type="int" name="LORBIT">{run.incar.get("LORBIT", ["0"])[0]}</i>
  <i type="int" name="ISMEAR">0</i>
  <i type="logical" name="LNONCOLLINEAR">{"T" if run.vectors else "F"}</i>
  <i type="logical" name="LSORBIT">F</i>
  <i type="logical" name="LEPSILON">F</i>
  <i type="logical" name="LCHIMAG">F</i>
  <i name="NELECT">{8.0 * run.n}</i>
  <i name="EDIFFG">-0.02</i>
  <v name="MAGMOM">{moments}</v>
 </parameters>
"""


def atoms(run: Run) -> str:
    each = "".join(f"<rc><c>{s}</c><c>{run.elements.index(s) + 1}</c></rc>" for s in run.species)
    types = "".join(
        f"<rc><c>{run.species.count(e)}</c><c>{e}</c><c>55.8</c><c>8.0</c><c>{t}</c></rc>"
        for e, t in zip(run.elements, run.titles, strict=True)
    )
    return f""" <atominfo>
  <atoms>{run.n}</atoms>
  <types>{len(run.elements)}</types>
  <array name="atoms" ><set>{each}</set></array>
  <array name="atomtypes" ><set>{types}</set></array>
 </atominfo>
"""


def bands(run: Run) -> str:
    spins = 2 if run.polarised and not run.vectors else 1
    levels = "<r> -5.0 1.0 </r><r> 5.0 0.0 </r>"
    dos = "<r> -5.0 1.0 1.0 </r><r> 5.0 0.0 2.0 </r>"
    block = "".join(
        f'<set comment="spin {s}"><set comment="kpoint 1">{levels}</set></set>' for s in range(1, spins + 1)
    )
    total = "".join(f'<set comment="spin {s}">{dos}</set>' for s in range(1, spins + 1))
    return f"""  <eigenvalues><array><set>{block}</set></array></eigenvalues>
  <dos><i name="efermi"> 0.0 </i><total><array><set>{total}</set></array></total></dos>
"""


def vasprun(run: Run, result: Result, version: str) -> str:
    rest = [result.energy + 2.0**-k for k in range(run.steps - 1)]
    steps = "".join(f"  <scstep>\n{energies(e)}  </scstep>\n" for e in [*rest, result.energy])
    xx, yy, zz, yz, xz, xy = -KBAR_PER_EV_A3 * result.stress
    kbar = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">{version}  </i>
 </generator>
{parameters(run)}{atoms(run)}{structure(run, ' name="initialpos" ')} <calculation>
{steps}{structure(run)}  <varray name="forces" >
{rows(result.forces)}
  </varray>
  <varray name="stress" >
{rows(kbar)}
  </varray>
{energies(result.energy)}{bands(run)} </calculation>
{structure(run, ' name="finalpos" ')}</modeling>
"""


def outcar(run: Run, result: Result, version: str) -> str:
    axes = (("x", 0), ("y", 1), ("z", 2)) if run.vectors else (("x", 2),) if run.polarised else ()
    tables = ""
    for axis, k in axes:
        body = "".join(
            f"{i:5d}     {0:7.3f} {0:7.3f} {m:7.3f} {m:7.3f}\n" for i, m in enumerate(result.moments[:, k], start=1)
        )
        tables += f"\n magnetization ({axis})\n \n# of ion       s       p       d       tot\n{'-' * 42}\n{body}"
        tables += f"{'-' * 50}\ntot {0:10.3f} {0:7.3f} {0:7.3f} {result.moments[:, k].sum():7.3f}\n"
    return f""" vasp.{version} 20Jul23 (build Aug 01 2023 10:00:00) complex
 running on    1 total cores
   number of dos      NEDOS =    301   number of ions     NIONS = {run.n:6d}
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      2
   total plane-waves  NPLWV =   1000
   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG
   ISPIN  = {2 if run.polarised and not run.vectors else 1:6d}    spin polarized calculation?
   LNONCOLLINEAR = {"T" if run.vectors else "F"} non collinear calculations
 number of electron {8.0 * run.n:15.7f} magnetization {result.moments[:, 2].sum():15.7f}
{tables}
  free  energy   TOTEN  = {result.energy:18.8f} eV

  energy  without entropy= {result.energy:18.8f}  energy(sigma->0) = {result.energy:18.8f}
 E-fermi :   0.0000     XC(G=0): -10.0     alpha+bet :-10.0

    total drift:                                0.000000      0.000000      0.000000

 General timing and accounting informations for this job:
 ========================================================
                  Total CPU time used (sec):        1.000
                         Elapsed time (sec):        1.000
"""


def oszicar(run: Run, result: Result) -> str:
    table = ""
    if run.constraint and not run.deltaspin:
        e_p = result.penalty * (2.0 if run.mode == "wrong-penalty" else 1.0)
        moments = "".join(
            f"{i:5d}" + "".join(f"{x:8.3f}" for x in m) + "  " + "".join(f"{1.2 * x:8.3f}" for x in m) + "\n"
            for i, m in enumerate(result.moments, start=1)
        )
        table = (
            f" E_p = {e_p:12.5E}  lambda = {run.strength:10.3E}\n<lVp>= {0:12.5E}\n DBL = {0:12.5E}\n"
            f" ion        MW_int                 M_int\n{moments}"
        )
    steps = "".join(f"DAV: {k:3d} {result.energy:20.12E} {0:14.5E}\n" for k in range(1, run.steps + 1))
    end = f"   1 F= {result.energy:.8E} E0= {result.energy:.8E}  d E ={0:.6E}  mag= {result.moments[:, 2].sum():.4f}\n"
    tail = ""
    if table and run.mode != "coarse":
        field = run.strength * result.deviation
        tail = table.split("<lVp>")[0] + " ion             lambda*MW_perp\n"
        tail += "".join(f"{i:4d}" + "".join(f"{x:13.5E}" for x in f) + "\n" for i, f in enumerate(field, start=1))
    return f"       N       E                     dE\n{steps}{table}{end}{tail}"


def deltaspin_log(run: Run, result: Result) -> str:
    def block(title: str, values: np.ndarray) -> str:
        return f" {title}\n" + "".join("".join(f"{x:24.15E}" for x in v) + "\n" for v in values)

    return (
        block("current spin:", result.moments)
        + block("target spin: ", run.target)
        + "Step (Outer -- Inner) =  12 -- 6       RMS =  7.560411835376E-07\n"
        + ("" if run.mode == "constraint-unmet" else "Meet convergence criterion ( < 1.000E-06 ), exit.\n")
        + " Inner optimization for lambda ends.\n"
        + block("final optimal lambda: ", result.multipliers)
    )


def main() -> int:
    run = Run()
    version = "5.4.4.18Apr17-6-g9f103f2a35" if run.mode == "other-version" else VERSION
    print(f" vasp.{version} (build Aug 01 2023 10:00:00) complex", flush=True)
    if run.mode == "sleep":
        time.sleep(60)
    if run.mode == "crash":
        print(" Error EDDDAV: Call to ZHEGV failed. Returncode =  15 1  16")
        return 1
    if run.mode == "silent":  # VASP often ends with status 0 after an error
        print("|     VERY BAD NEWS! internal error in subroutine SGRCON:     |")
        return 0
    result = run.solve()
    if run.mode == "wrong-energy" and getattr(run, "strength", 0) > 15:
        result.energy += 0.5
    if run.deltaspin:
        print(deltaspin_log(run, result))
    text = oszicar(run, result)
    print(text)
    Path("OSZICAR").write_text(text)
    Path("OUTCAR").write_text(outcar(run, result, version))
    xml = vasprun(run, result, version)
    Path("vasprun.xml").write_text(xml[: len(xml) // 2] if run.mode == "truncated" else xml)
    Path("CONTCAR").write_text(Path("POSCAR").read_text())
    for name, tag in (("WAVECAR", "LWAVE"), ("CHGCAR", "LCHARG")):
        if run.incar[tag] == ["True"]:
            Path(name).write_text("a stand-in")
    if run.incar["ISTART"] == ["1"]:
        assert run.constraint, "only a ladder restarts"
    return 0


if __name__ == "__main__":
    sys.exit(main())
