"""Stand-in for ABINIT 9.6.2: leaves the files and the exit status that the real one leaves (copied from real runs).

The environment variable FAKE_ABINIT names what is to happen. It never computes anything.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np

ERROR = """
--- !ERROR
src_file: {source}
src_line: 243
mpi_rank: 0
message: |
{message}
...


 abinit_abort: decision taken to exit. Check above messages for more info
"""
UNKNOWN = "    Found token: `FOO` in the input file.\n    This name is not one of the registered input variable names."
OVERLAP = "    PAW SPHERES ARE OVERLAPPING!\n       There is one pair of overlapping atoms."
UNCONVERGED = """
--- !ScfConvergenceWarning
message: |
    nstep 100 was not enough SCF cycles to converge.
...
"""
TABLE = """ Integrated electronic and magnetization densities in atomic spheres:
 ---------------------------------------------------------------------
 Radius=ratsph(iatom), smearing ratsm=  0.0500. Diff(up-dn)=approximate z local magnetic moment.
 Atom    Radius    up_density   dn_density  Total(up+dn)  Diff(up-dn)   Atomic charge
{rows}
 ---------------------------------------------------------------------
  Sum:              4.304857     2.306060      6.610917     1.998797
"""


def main() -> int:
    if sys.argv[1:] == ["--version"]:
        print(os.environ.get("FAKE_ABINIT_VERSION", "9.6.2"))
        return 0
    mode = os.environ["FAKE_ABINIT"]
    text = Path(sys.argv[1]).read_text()
    stem = Path(sys.argv[1]).stem
    print(".Version 9.6.2 of ABINIT")
    if mode == "invalid-input":
        print(ERROR.format(source="m_parser.F90", message=UNKNOWN))
        return 14
    if mode == "overlap":
        print(ERROR.format(source="m_paw_tools.F90", message=OVERLAP))
        return 14
    step = " ETOT 20  -24.129266851735     3.58E-12 6.11E-07 1.43E-09 4.5E-08 7.46E-03 0.827"
    Path(f"{stem}.abo").write_text(step + "\n")
    if mode == "crash":
        print("Program received signal SIGSEGV", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "error-in-scf":
        print(ERROR.format(source="m_cgtools.F90", message="    zero norm"))
        return 14
    if mode == "hang":
        sys.stdout.flush()
        time.sleep(60)
    return finish(mode, text, stem, step)


def finish(mode: str, text: str, stem: str, step: str) -> int:
    n = int(re.search(r"^natom (\d+)", text, re.M).group(1))
    numbers = re.search(r"spinat\n((?:\s+\S+ \S+ \S+\n)+)", text)
    moments = [float(line.split()[2]) for line in numbers.group(1).splitlines()] if numbers else []
    if mode == "moment-missed":
        moments = [m - 0.02 for m in moments]
    rows = "\n".join(
        f"    {i + 1}   2.20000     4.3     2.3      6.6     {m:.6f}      1.389083" for i, m in enumerate(moments)
    )
    nstep = int(re.search(r"^nstep (\d+)", text, re.M).group(1))
    restarted = "getden_filepath" in text
    residual = "5.99E+03" if mode == "diverges" else "1.43E-02"
    if mode in {"unconverged", "diverges"} or (mode == "converges-on-restart" and not restarted):
        print(UNCONVERGED)
        step = f" ETOT {nstep:3d}  -24.129266851735     3.58E-04 6.11E-07 {residual} 4.5E-08 7.46E-03 0.827"
    if re.search(r"^prtden 1", text, re.M):
        Path(f"{stem}o_DEN").write_bytes(b"density")
    ghost = mode == "ghost" or (mode == "ghost-unless-damped" and "diemix" not in text)
    write_netcdf(mode, stem, n, structure(text, n), constrained="constraint_kind" in text, ghost=ghost)
    table = TABLE.format(rows=rows) if moments else ""
    body = f"{step}\n{table} Calculation completed.\n"
    Path(f"{stem}.abo").write_text(body[: len(body) // 2] if mode == "truncated-text" else body)
    names = sorted({n.strip() for n in re.search(r'pseudos "(.*)"', text).group(1).split(",")})
    pseudos = "".join(f"    {Path(n).stem:4s}: {hashlib.md5(Path(n).read_bytes()).hexdigest()}\n" for n in names)
    print(f"\n--- !FinalSummary\nprogram: abinit\nversion: 9.6.2\npseudos: \n{pseudos}usepaw: 1\n...")
    return 0


def structure(text: str, n: int) -> dict[str, tuple[tuple[str, ...], list]]:
    """What the GSR file says of the structure: name of each variable, its dimensions and values."""

    def table(name: str, rows: int) -> list[list[float]]:
        lines = text.split(f"\n{name}\n", 1)[1].splitlines()[:rows]
        return [[float(x) for x in line.split()] for line in lines]

    fractions = np.array(table("xcart", n)) @ np.linalg.inv(table("rprim", 3))
    numbers = [float(z) for z in re.search(r"^znucl (.*)$", text, re.M).group(1).split()]
    kinds = [int(k) for k in re.search(r"^typat (.*)$", text, re.M).group(1).split()]
    return {
        "primitive_vectors": (("three", "three"), table("rprim", 3)),
        "reduced_atom_positions": (("natom", "three"), fractions.tolist()),
        "atom_species": (("natom",), kinds),
        "atomic_numbers": (("kinds",), numbers),
    }


def write_netcdf(mode: str, stem: str, n: int, described: dict, *, constrained: bool, ghost: bool) -> None:
    import netCDF4

    if mode == "no-netcdf":
        return
    with netCDF4.Dataset(f"{stem}o_GSR.nc", "w") as nc:
        nc.createDimension("natom", n)
        nc.createDimension("three", 3)
        nc.createDimension("six", 6)
        nc.createVariable("etotal", "f8", ())[...] = float("nan") if mode == "nan" else -24.0
        nc.createDimension("kinds", len(described["atomic_numbers"][1]))
        for name, (dimensions, values) in described.items():
            nc.createVariable(name, "f8", dimensions)[...] = values
        forces = [[0.01 * (-1) ** i] * 3 for i in range(n)]
        forces[-1] = [-sum(column) for column in zip(*forces[:-1], strict=True)] if n > 1 else [0.0] * 3
        nc.createVariable("cartesian_forces", "f8", ("natom", "three"))[...] = forces
        nc.createVariable("cartesian_stress_tensor", "f8", ("six",))[...] = [1e-4, 2e-4, 3e-4, 4e-5, 5e-5, 6e-5]
        nc.createVariable("fermi_energy", "f8", ())[...] = 0.28
        nc.createDimension("one", 1)
        nc.createVariable("eigenvalues", "f8", ("one", "one", "three"))[...] = [-2.3 if ghost else -0.05, 0.09, 0.3]
        nc.createVariable("kpoint_weights", "f8", ("one",))[...] = [1.0]
    if mode == "cut-netcdf":
        path = Path(f"{stem}o_GSR.nc")
        path.write_bytes(path.read_bytes()[:200])
    if constrained:
        with netCDF4.Dataset(f"{stem}o_OUT.nc", "w") as nc:
            nc.createDimension("flat", 3 * n)
            nc.createVariable("grspin", "f8", ("flat",))[...] = [0.0, 0.0, 0.002] * n


if __name__ == "__main__":
    sys.exit(main())
