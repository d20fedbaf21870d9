"""What `make reference-data` fetches, checks and says, from a repository on this machine."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reference_data import SOURCES, Source, data_folder, digest, last_moments, main, two_of_feal

SET = Source(
    folder="iron",
    url="",
    commit="main",
    files={"a/pot.mtp": "deep/pot.mtp", "a/out.cfg.xz": "deep/out.cfg"},
    digest=hashlib.sha256(b"1 2\n3\n").hexdigest(),
    derived={"sum.txt": lambda folder: (folder / "a/pot.mtp").read_text() + "= 3"},
)


@pytest.fixture
def source(tmp_path):
    """The set, from a repository with a file more."""
    origin = tmp_path / "origin"
    (origin / "deep").mkdir(parents=True)
    for name, text in [("pot.mtp", "1 2\n"), ("out.cfg", "3\n"), ("huge.bin", "0" * 9999)]:
        (origin / "deep" / name).write_text(text)
    (origin / "LICENSE").write_text("as you like\n")
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["config", "uploadpack.allowFilter", "true"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "all"],
    ):
        subprocess.run(["git", *arguments], cwd=origin, check=True)
    return replace(SET, url=origin.as_uri())


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_set_comes_whole_and_once(source, tmp_path, capsys):
    root = tmp_path / "data"
    assert main([source], root) == 0
    files = _files(root)
    assert set(files) == {"iron/a/pot.mtp", "iron/a/out.cfg.xz", "iron/sum.txt", "iron/LICENSE"}
    assert lzma.decompress(files["iron/a/out.cfg.xz"]) == b"3\n"
    assert files["iron/sum.txt"] == b"1 2\n= 3"
    assert f"1 of 1 sets in {root}" in capsys.readouterr().out
    assert main([replace(source, url="file:///nowhere")], root) == 0
    assert _files(root) == files


@pytest.mark.parametrize("damage", [b"", b"\xfd7zXZ\x00", lzma.compress(b"4\n"), None])
def test_a_damaged_set_is_mended_and_what_else_is_there_stays(source, tmp_path, damage):
    root = tmp_path / "data"
    main([source], root)
    whole = _files(root)
    file = root / "iron/a/out.cfg.xz"
    file.unlink() if damage is None else file.write_bytes(damage)
    (root / "iron/notes.txt").write_text("mine")
    assert main([source], root) == 0
    assert _files(root) == whole | {"iron/notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"url": "file:///nowhere"}, "'/nowhere' does not"),
        ({"commit": "0" * 40}, "0" * 40),
        ({"files": {"a": "deep/gone"}}, "no deep/gone at main"),
        ({"digest": "0" * 64}, "other files than the tests know"),
    ],
)
def test_what_cannot_be_had_is_named_and_leaves_nothing(source, tmp_path, capsys, wrong, why):
    root = tmp_path / "data"
    lacking = replace(source, folder="cobalt", **wrong)
    assert main([lacking, source], root) == 1
    printed = capsys.readouterr()
    assert "1 of 2 sets" in printed.out
    assert printed.err.count("\n") == 1
    assert "could not be had: cobalt (" in printed.err
    assert why in printed.err
    assert [p.name for p in root.iterdir()] == ["iron"]


def test_a_folder_one_may_not_make_is_one_line(source, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([source], tmp_path / "file" / "data") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_named_folder_comes_first(monkeypatch):
    monkeypatch.setenv("MAGFLOW_REFERENCE_DATA", "/some/where")
    assert data_folder() == Path("/some/where")
    monkeypatch.setenv("MAGFLOW_REFERENCE_DATA", "")
    assert data_folder().parts[-2:] in {("shared", "data"), (Path(__file__).parents[2].name, "reference-data")}


def _block(energy: str) -> str:
    return f"BEGIN_CFG\n Energy\n   {energy}\n Feature a\t1\nEND_CFG\n\n"


def test_two_configurations_of_many():
    ours = ["-37537.216887746064", "-34208.079382760196"]
    both = two_of_feal("".join(_block(e) for e in ["-1.5", ours[1], "-2.5", ours[0]]).encode())
    assert both == (_block(ours[0]) + _block(ours[1])).strip().encode() + b"\n"
    assert two_of_feal(both) == both


def test_the_last_table_of_moments():
    table = " Integrated electronic and magnetization densities\n ---\n Atom Radius\n 1 2.1 {}\n ---\n"
    last = last_moments(("head\n" + table.format(1) + "more\n" + table.format(2) + " ---\nend\n").encode())
    assert last == table.format(2).encode()
    assert last_moments(last) == last


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.folder)
def test_what_the_tests_read_is_what_the_script_fetches(source):
    folder = data_folder() / source.folder
    if not folder.is_dir():
        pytest.skip(f"no {folder}; make reference-data")
    assert digest(source, folder) == source.digest
