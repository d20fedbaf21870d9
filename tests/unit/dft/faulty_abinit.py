"""A stand-in for ABINIT with more ways to go wrong than its own errors; the honest part is :mod:`fake_abinit`'s.

The environment variable FAULT names what is to happen.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fake_abinit
import netCDF4

FAULT = "FAULT"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
_STEP = " ETOT 20  -24.129266851735     3.58E-12 6.11E-07 1.43E-09 4.5E-08 7.46E-03 0.827"
_STEM, _TEXT = "run", ""


def honest(text: str | None = None) -> None:
    print(".Version 9.6.2 of ABINIT", flush=True)
    fake_abinit.finish("ok", text or _TEXT, _STEM, _STEP)
    sys.stdout.flush()


def put(name: str, value: float, where: object = ..., file: str = "GSR") -> Callable[[], None]:
    def fault() -> None:
        honest()
        with netCDF4.Dataset(f"{_STEM}o_{file}.nc", "a") as nc:
            nc[name][where] = value

    return fault


def all_zero() -> None:
    honest()
    with netCDF4.Dataset(f"{_STEM}o_GSR.nc", "a") as nc:
        for name in ("etotal", "cartesian_forces", "cartesian_stress_tensor"):
            nc[name][...] = 0.0


def other_structure() -> None:
    honest()
    with netCDF4.Dataset(f"{_STEM}o_GSR.nc", "a") as nc:
        nc["reduced_atom_positions"][...] = 0.123


def moment_flipped() -> None:
    head, _, rest = _TEXT.partition("spinat\n")
    first, _, rest = rest.partition("\n")
    *xy, z = first.split()
    honest(f"{head}spinat\n  {' '.join(xy)} {-float(z):.14f}\n{rest}")


def moment(word: str, fields: int = 1) -> Callable[[], None]:
    """The moment of the first atom, and what follows it, replaced."""

    def fault() -> None:
        honest()
        path = Path(f"{_STEM}.abo")
        row = r"(    1   2\.20000     4\.3     2\.3      6\.6)" + r"\s+\S+" * fields
        path.write_text(re.sub(row, rf"\g<1>     {word}", path.read_text()))

    return fault


def replaced(name: str, make: Callable[[str], None]) -> Callable[[], None]:
    def fault() -> None:
        honest()
        Path(name).unlink()
        make(name)

    return fault


def cut(name: str, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    def fault() -> None:
        honest()
        Path(name).write_bytes(change(Path(name).read_bytes()))

    return fault


def written(data: bytes, times: int, ending: int | None) -> Callable[[], int]:
    def fault() -> int:
        for _ in range(times):
            sys.stdout.buffer.write(data)
        sys.stdout.flush()
        if ending is None:
            honest()
        return ending or 0

    return fault


def child(then: Callable[[], object], **options: bool) -> Callable[[], None]:
    def fault() -> None:
        subprocess.Popen([sys.executable, "-c", DEAF], **options)
        then()

    return fault


def hang() -> None:
    time.sleep(3600)


def hang_deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def abort_with_a_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("core.12345").write_bytes(b"\0" * 10_000_000)
    os.abort()


def fills_the_disk() -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        Path("scratchfile").write_bytes(b"x" * 2_000_000)
    except OSError as error:
        print(f"Fortran runtime error: {error}")
    return 2


def deletes_its_directory() -> None:
    honest()
    shutil.rmtree(Path.cwd())


def leaves_directories() -> None:
    honest()
    Path("tmp/a/b").mkdir(parents=True)
    Path("tmp/a/b/file").touch()


GSR, ABO = "runo_GSR.nc", "run.abo"
_GARBAGE = b"\xff\xfe\x80 <script>alert(1)</script> [/x] \x1b[31m \x00\n" * 50
FAULTS: dict[str, Callable[[], object]] = {
    "ok": honest,
    "energy-off-by-48-eV": put("etotal", -24.0 - 48 / 27.2114),
    "energy-1e300": put("etotal", -1e300),
    "energy-infinite": put("etotal", float("-inf")),
    "all-zero": all_zero,
    "forces-nan": put("cartesian_forces", float("nan"), (0, 0)),
    "forces-infinite": put("cartesian_forces", float("inf"), (0, 0)),
    "forces-huge": put("cartesian_forces", 1e6, (0, 0)),
    "forces-do-not-cancel": put("cartesian_forces", 3.0),
    "stress-unset": put("cartesian_stress_tensor", 9.96920996838687e36, 0),
    "moment-flipped": moment_flipped,
    "moment-nan": moment("NaN"),
    "moment-stars": moment("********"),
    "moment-runs-together": moment("-1234.567890-1234.567890", 2),
    "gradient-nan": put("grspin", float("nan"), slice(0, 3), "OUT"),
    "gradient-missing": replaced("runo_OUT.nc", lambda _: None),
    "other-number-of-atoms": lambda: honest(re.sub(r"^natom \d+", "natom 1", _TEXT, flags=re.M)),
    "other-structure": other_structure,
    "log-not-text": written(_GARBAGE, 1, None),
    "log-not-text-crash": written(_GARBAGE, 1, 3),
    "log-NUL-error": written(b"--- !ERROR\nmessage: |\n   bad \x00 \xed\xa0\x80 thing\n...\n", 1, 14),
    "log-huge": written((b"x" * 1023 + b"\n") * 1024, 200, None),
    "log-huge-error": written((b"--- !ERROR\n" + b"x" * 1012 + b"\n") * 1024, 200, 14),
    "netcdf-cut": cut(GSR, lambda data: data[: len(data) // 2]),
    "netcdf-zeros": cut(GSR, lambda data: data[:512] + b"\0" * (len(data) - 512)),
    "empty-files": lambda: [Path(name).touch() for name in (ABO, GSR)],
    "nothing": lambda: None,
    "hang": hang,
    "hang-deaf-to-SIGTERM": hang_deaf,
    "child-in-group": child(honest),
    "child-in-session": child(honest, start_new_session=True),
    "child-then-hang": child(hang, start_new_session=True),
    "abort-with-core": abort_with_a_core,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "disk-full": fills_the_disk,
    "deletes-its-directory": deletes_its_directory,
    "output-is-directory": replaced(ABO, os.mkdir),
    "output-is-circle": replaced(ABO, lambda name: Path(name).symlink_to(name)),
    "output-is-pipe": replaced(ABO, os.mkfifo),
    "netcdf-is-pipe": replaced(GSR, os.mkfifo),
    "leaves-directories": leaves_directories,
}


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        print("9.6.2")
        sys.exit(0)
    _TEXT = Path(sys.argv[1]).read_text()
    sys.exit(FAULTS[os.environ[FAULT]]() or 0)
