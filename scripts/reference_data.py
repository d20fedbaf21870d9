"""Fetch the numbers of other projects that some tests are held against: ``make reference-data``.

They go into the folder that ``data_folder`` names, one set of files a folder; tests/reference_data.md says what they
are. Git fetches the files named here and no others, some 10 MB. A set that is there already stays as it is, one that
cannot be had is named at the end.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import lzma
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).parents[1]
MOTEP = "0.2.0"
PATIENCE = 900
"""Seconds that one request of git may take."""


class UnavailableError(Exception):
    """A set of files cannot be had; the message says why."""


@dataclass(frozen=True)
class Source:
    """One folder of reference data and where it comes from.

    Parameters
    ----------
    folder
        Name of the set.
    url, commit
        Public git repository, and the commit (or branch, where ``digest`` alone pins the files).
    files
        Name in the folder: path in the repository. A name that gains ``.xz`` is compressed on the way.
    digest
        ``digest`` of these files.
    licence
        Path of the licence in the repository; it becomes ``LICENSE`` of the folder.
    notice
        What ``LICENSE`` says where the repository is not known to hold one.
    take
        The part of each file that is wanted. Taken twice it is the same.
    derived
        Further files by name, and what writes their text from those of the folder.
    """

    folder: str
    url: str
    commit: str
    files: dict[str, str]
    digest: str
    licence: str | None = "LICENSE"
    notice: str = ""
    take: Callable[[bytes], bytes] = bytes
    derived: dict[str, Callable[[Path], str]] = field(default_factory=dict)


def data_folder() -> Path:
    """The folder of reference data: the one that is named, else one beside the clone, else one in it."""
    if named := os.environ.get("MAGFLOW_REFERENCE_DATA"):
        return Path(named)
    beside = REPOSITORY.parent / "shared" / "data"
    return beside if beside.is_dir() else REPOSITORY / "reference-data"


def two_of_feal(cfg: bytes) -> bytes:
    """The two Fe-Al configurations that the tests know, by their energies."""
    blocks = re.findall(rb"BEGIN_CFG.*?END_CFG\n", cfg, re.DOTALL)
    return b"\n".join(b for e in (b"-37537.216887746064", b"-34208.079382760196") for b in blocks if e in b.split())


def last_moments(abo: bytes) -> bytes:
    """The last table of moments in ABINIT's output."""
    tables = re.findall(rb" Integrated electronic and magnetization[^\n]*\n -+\n.*? -+\n", abo, re.DOTALL)
    return tables[-1] if tables else b""


def motep_predictions(folder: Path) -> str:
    """What motep predicts with its potentials for the iron of ``mag.cfg``; ``mgrad`` is +dE/dm."""
    if MOTEP not in {found.version for found in importlib.metadata.distributions(name="motep")}:
        raise UnavailableError(f"motep {MOTEP} computes a part of it; pip install motep=={MOTEP}")
    from motep.calculator import MMTP
    from motep.io.mlip.cfg import read_cfg
    from motep.io.mlip.mtp import read_mtp

    iron = read_cfg(folder / "mag.cfg", species=["Fe"])
    moments = iron.get_magnetic_moments()
    predictions = {}
    for path in sorted(folder.glob("*.mmtp")):
        data = read_mtp(path)
        data.species = [26]
        iron.calc = MMTP(data, relax_magmoms=False)
        iron.set_initial_magnetic_moments(moments)
        seen = {"energy": iron.get_potential_energy(), "stress": iron.get_stress().tolist()}
        seen |= {"forces": iron.get_forces().tolist(), "mgrad": iron.calc.results["mgrad"].tolist()}
        iron.set_initial_magnetic_moments(-moments)
        predictions[path.stem] = seen | {"energy_flipped": iron.get_potential_energy()}
    return json.dumps(predictions)


MOTEP_DATA = {"url": "https://github.com/imw-md/motep", "commit": "050a35e84c93a11ce0f7e4319755c8325ff23af3"}
MTP_FILES = {"cubic_08": "cubic/08", "multi_10": "multi/10"}
NIO_ARRAYS = [f"set.000/{name}.npy" for name in ("box", "coord", "energy", "force", "force_mag", "spin")]
SOURCES = [
    Source(
        folder="feal_mmtp",
        url="https://gitlab.com/ivannovikov/datasets_for_magnetic_MTP",
        commit="main",
        files={
            "feal_2_configs.cfg": "Fe_Al_fitting_to_magnetic_forces/training_set/training_set_with_magnetic_forces.cfg"
        },
        digest="b0f28495ee3c408df504cb82896f8f9d773bd25c520328b145cb04dbe73aa147",
        licence=None,
        take=two_of_feal,
        notice="Two of the 2632 configurations of doi 10.1016/j.commatsci.2024.113331, as published at\n"
        "https://gitlab.com/ivannovikov/datasets_for_magnetic_MTP.\n"
        "CC-BY-4.0, https://creativecommons.org/licenses/by/4.0/\n",
    ),
    Source(
        folder="mmtp_fe_vasp",
        **MOTEP_DATA,
        files={
            name: f"tests/data_path/original/mag/{name}"
            for name in [*(f"{level:02d}.mmtp" for level in range(2, 13, 2)), "mag.cfg"]
        },
        digest="3fa2e6e7649b71b041b8016956269f3060f57f101dee01276aac6353f2553839",
        derived={f"reference_motep_{MOTEP}.json": motep_predictions},
    ),
    Source(
        folder="mtp_reference",
        **MOTEP_DATA,
        files={
            f"{here}/{name}{suffix}": f"tests/data_path/fitting/crystals/{there}/{name}"
            for here, there in MTP_FILES.items()
            for name, suffix in [("pot.mtp", ""), ("out.cfg", ".xz")]
        },
        digest="dd2a9a58008f01a3b7f339b69efafd6b056e857486284be26192f72108b1e714",
    ),
    Source(
        folder="deepmd_spin_NiO",
        url="https://github.com/deepmodeling/deepmd-kit",
        commit="b2c8511ee32355e744e17e05d95c6d8acbac9526",
        files={
            f"{data}/{name}": f"examples/spin/data_reformat/{data}/{name}"
            for data in ("data_0", "data_1")
            for name in ["type.raw", "type_map.raw", *NIO_ARRAYS]
        },
        digest="3ddc02babba0e4cc95b4e00456bd0aff027241837597d418fccf731f48c67769",
    ),
    Source(
        folder="deltaspin_NiO",
        url="https://github.com/hztttt/DeepSPIN_Tutorial",
        commit="1fdcaffc74f08c2af53a29f6885c946123523a29",
        files={
            f"65/{name}{suffix}": f"00.data/DeltaSpin/65/{name}"
            for name, suffix in [("INCAR", ""), ("KPOINTS", ""), ("POSCAR", ""), ("tmp_log", ".xz")]
        },
        digest="d7107b66c8262b42ad529f5f10f28193eb10220082a8c2535efc5df1937d9bae",
    ),
    Source(
        folder="fe_gap22",
        url="https://github.com/leiapple/Fe-GAP22",
        commit="b0a2c1cc9eb9231736ebb97498a4f82d211587ef",
        files={name: f"New_DBs/{name}" for name in ("DB9.xyz", "README.txt")},
        digest="16ba2046d36cb27a208e07ce5ba4b9530f746e1fcb9427ee53cd07d53f55e86e",
    ),
    Source(
        folder="phonopy",
        url="https://github.com/phonopy/phonopy",
        commit="2df40f4865d477f44d3b5d1ebcafc0b4af878e35",
        files={f"Cr/{name}": f"example/Cr/{name}" for name in ("vasprun.xml.xz", "README.md")},
        digest="acd051cc14b0043fed6d2e793985893efd5a53419b0df0e63e76ba4dc4a874ab",
    ),
    Source(
        folder="abinit_cdft",
        url="https://github.com/abinit/abinit",
        commit="1a3af4bed1f45b2d9955a80e2e35a9e149b6c7d3",
        files={"t03_extract.abo": "tests/v9/Refs/t03.abo"},
        digest="0a9f80cfd56271149ca0f94acb543c2f1ef666a1904d0b92f3b5f89d108e801c",
        licence="COPYING",
        take=last_moments,
    ),
]


def digest(source: Source, folder: Path) -> str:
    """Sha256 of the files of the set, uncompressed; how their numbers are spaced does not count."""
    total = hashlib.sha256()
    for name in source.files:
        content = (folder / name).read_bytes()
        content = source.take(lzma.decompress(content) if name.endswith(".xz") else content)
        total.update(b" ".join(content.split()) + b"\n")
    return total.hexdigest()


def is_complete(source: Source, folder: Path) -> bool:
    """Whether the set is there, every file as it was published."""
    try:
        return digest(source, folder) == source.digest and all((folder / name).is_file() for name in source.derived)
    except (OSError, lzma.LZMAError, EOFError):
        return False


def git(*arguments: str, clone: Path) -> None:
    """Run git in `clone`; it asks nobody for a password, as it would for a repository that is gone."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(clone), *arguments]
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"git {arguments[0]} failed"]
        raise UnavailableError(next((line for line in lines if line.startswith("fatal:")), lines[-1])) from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"git {arguments[0]} took more than {PATIENCE} s") from error


def check_out(source: Source, clone: Path) -> None:
    """Bring the files of `source`, and no others, into `clone`."""
    paths = [*source.files.values(), *([source.licence] if source.licence else [])]
    git("init", "--quiet", clone=clone)
    git("remote", "add", "origin", source.url, clone=clone)
    git("sparse-checkout", "set", "--no-cone", *(f"/{path}" for path in paths), clone=clone)
    git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", source.commit, clone=clone)
    git("checkout", "--quiet", "FETCH_HEAD", clone=clone)
    if lacking := [path for path in paths if not (clone / path).is_file()]:
        raise UnavailableError(f"no {lacking[0]} at {source.commit}")


def obtain(source: Source, root: Path) -> None:
    """Put the set into its folder below `root`: all of it, or nothing and ``UnavailableError`` says why."""
    with TemporaryDirectory(dir=root, prefix=".fetching-") as place:
        clone, folder = Path(place, "clone"), Path(place, source.folder)
        clone.mkdir()
        check_out(source, clone)
        for name, path in source.files.items():
            content = source.take((clone / path).read_bytes())
            compress = name.endswith(".xz") and not path.endswith(".xz")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(lzma.compress(content) if compress else content)
        if (seen := digest(source, folder)) != source.digest:
            raise UnavailableError(f"{source.url} holds other files than the tests know (sha256 {seen})")
        for name, text_from in source.derived.items():
            (folder / name).write_text(text_from(folder))
        licence = (clone / source.licence).read_bytes() if source.licence else source.notice.encode()
        (folder / "LICENSE").write_bytes(licence)
        put(folder, root / source.folder)


def put(folder: Path, target: Path) -> None:
    """Move the finished `folder` to `target`, where files of the same names are replaced and others stay."""
    if not target.exists():
        folder.rename(target)
        return
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        path.replace(target / path.relative_to(folder))


def main(sources: Sequence[Source], root: Path) -> int:
    """Fetch what is lacking; the exit code, 1 if something still is."""
    lacking = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if not is_complete(source, root / source.folder):
                print(f"{source.folder}: from {source.url}", flush=True)
                try:
                    obtain(source, root)
                except UnavailableError as error:
                    lacking.append(f"{source.folder} ({error})")
    except OSError as error:  # no git, no room, a folder that is not ours to write in
        print(f"reference data: {error}", file=sys.stderr)
        return 1
    print(f"reference data: {len(sources) - len(lacking)} of {len(sources)} sets in {root}")
    if lacking:
        print(f"could not be had: {'; '.join(lacking)}", file=sys.stderr)
    return bool(lacking)


if __name__ == "__main__":
    sys.exit(main(SOURCES, data_folder().absolute()))
