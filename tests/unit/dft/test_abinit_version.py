"""What a program says of itself; a start that Open MPI spoils is tried again."""

from pathlib import Path

import pytest

from magflow.dft.abinit import program
from magflow.errors import MissingToolError

ABORT = "echo '[vm:17517] Local abort before MPI_INIT completed completed successfully' >&2; exit 1"


def script(tmp_path: Path, spoilt: int) -> Path:
    """A program whose first `spoilt` starts come to nothing."""
    starts, path = tmp_path / "starts", tmp_path / "abinit"
    counted = f"echo x >> {starts}; if [ $(wc -l < {starts}) -le {spoilt} ]; then {ABORT}; fi; echo 9.6.2"
    path.write_text(f"#!/bin/sh\n{counted}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(program, "_MPI_PAUSE", 0.0)


@pytest.mark.parametrize("spoilt", [0, 1, 3])
def test_a_start_that_mpi_spoils_is_tried_again(tmp_path, spoilt):
    assert program.version_of(str(script(tmp_path, spoilt))) == "9.6.2"
    assert len((tmp_path / "starts").read_text().split()) == spoilt + 1


def test_not_for_ever(tmp_path):
    with pytest.raises(MissingToolError, match="before MPI_INIT"):
        program.version_of(str(script(tmp_path, 99)))
    assert len((tmp_path / "starts").read_text().split()) == 4


def test_another_failure_is_told_at_once(tmp_path):
    path = script(tmp_path, 0)
    path.write_text(path.read_text().replace("9.6.2", "no such option"))
    with pytest.raises(MissingToolError, match="no such option"):
        program.version_of(str(path))
    assert len((tmp_path / "starts").read_text().split()) == 1
