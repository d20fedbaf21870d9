"""What every test may use: the folder of reference data, a database, Slurm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from doubles import nx_27017
from doubles.databases import fresh_database
from magflow.core import credentials
from reference_data import data_folder

if TYPE_CHECKING:
    from doubles.mongo_wire import WireMongo
    from magflow.potentials.outside.process import Program
    from one_machine_slurm import OneMachineSlurm

# First imports under load take longer than hypothesis allows one example. The default run tries the same examples each
# time: it judges a change, not the luck of the draw. `make test-random` draws others.
settings.register_profile("magflow", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("magflow")

_NO_DATA = "no reference data"


@dataclass(frozen=True)
class ReferenceData:
    """The folder of reference data, of which some sets may be lacking."""

    root: Path

    def __truediv__(self, name: str) -> Path:
        """Folder of one set; the test is skipped, visibly, without it."""
        if not (folder := self.root / name).is_dir():
            pytest.skip(f"{_NO_DATA} at {folder}; make reference-data")
        return folder


@pytest.fixture(autouse=True)
def no_credentials_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test gave away is no secret of the next: a password 'test' would hide that word everywhere."""
    monkeypatch.setattr(credentials, "_known", {})


@pytest.fixture(scope="session")
def reference_data() -> ReferenceData:
    """Numbers of others, ``reference_data / set / file``."""
    return ReferenceData(data_folder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that hold magflow against numbers of others."""
    for item in items:
        if "reference_data" in getattr(item, "fixturenames", ()):
            item.user_properties.append(("oracle", True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of them ran, so that a run without the data is not taken for one with it."""
    reports = [r for kind in ("passed", "failed", "error", "skipped") for r in terminalreporter.stats.get(kind, [])]
    oracles = [r for r in reports if dict(getattr(r, "user_properties", ())).get("oracle")]
    lacking = sum(r.skipped and _NO_DATA in str(r.longrepr) for r in oracles)
    ran = sum(not r.skipped for r in oracles)
    if oracles:
        hint = "; `make reference-data` fetches it" if lacking else ""
        terminalreporter.write_line(f"reference data: {ran} oracles ran, {lacking} skipped for lack of it{hint}")


@pytest.fixture(scope="session")
def deepmd_kit() -> None:
    """The test runs deepmd-kit; it is skipped, visibly, where there is none."""
    from magflow.potentials.deepmd.program import DEEPMD_KIT

    _needed(DEEPMD_KIT)


@pytest.fixture(scope="session")
def nequip() -> None:
    """The test runs nequip and its extension nequip-allegro; it is skipped, visibly, where one is lacking."""
    from magflow.potentials.nequip.program import ALLEGRO

    _needed(ALLEGRO)


@pytest.fixture(scope="session")
def chgnet() -> None:
    """The test runs chgnet; it is skipped, visibly, where there is none."""
    from magflow.potentials.chgnet.program import CHGNET

    _needed(CHGNET)


@pytest.fixture(scope="session")
def flare_core() -> None:
    """The test runs the core of mir-flare; it is skipped, visibly, where there is none."""
    from magflow.potentials.flare.core import probe

    if not (found := probe()).ok:
        pytest.skip(f"{found.detail}; {found.hint}")


def _needed(program: Program) -> None:
    found = program.probe()
    if not found.ok:
        pytest.skip(f"{found.detail}; {found.hint}")


@pytest.fixture(scope="session")
def wire_mongo() -> Iterator[WireMongo]:
    """The wire double of MongoDB, one process for all tests; one that breaks it starts a WireMongo of its own."""
    from doubles.mongo_wire import WireMongo

    with WireMongo() as double:
        yield double


@pytest.fixture(scope="session")
def mongodb_server() -> str:
    """URI of the MongoDB of MAGFLOW_TEST_MONGO_URI; the test is skipped, visibly, without it."""
    server = os.environ.get("MAGFLOW_TEST_MONGO_URI")
    if not server:
        pytest.skip("no MongoDB server; set MAGFLOW_TEST_MONGO_URI")
    return server


@pytest.fixture
def wire_uri(wire_mongo: WireMongo) -> Iterator[str]:
    """URI of a database of the test's own on the wire double."""
    with fresh_database(wire_mongo.uri) as uri:
        yield uri


@pytest.fixture
def server_uri(mongodb_server: str) -> Iterator[str]:
    """URI of a database of the test's own on a real MongoDB."""
    with fresh_database(mongodb_server) as uri:
        yield uri


@pytest.fixture(scope="session")
def nx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of an nx-27017; the test is skipped, visibly, without it."""
    if nx_27017.program() is None:
        pytest.skip(f"no nx-27017; `make test-nx`, or set {nx_27017.PROGRAM}")
    with nx_27017.served(tmp_path_factory.mktemp("nx")) as uri:
        yield uri


@pytest.fixture
def nx_uri(nx_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URI of a database of the test's own on nx-27017; what that cannot do is expected to fail."""
    gap = nx_27017.GAPS.get(request.node.name)
    if gap is not None:
        request.applymarker(pytest.mark.xfail(reason=gap, strict=True))
    with fresh_database(nx_server) as uri:
        yield uri


TIERS = {"wire-double": "wire_uri", "nx-27017": "nx_uri", "mongodb": "server_uri"}


@pytest.fixture(params=TIERS)
def mongo_uri(request: pytest.FixtureRequest) -> str:
    """URI of a database of the test's own, on each tier."""
    return request.getfixturevalue(TIERS[request.param])


@pytest.fixture(scope="session")
def slurm() -> Iterator[OneMachineSlurm]:
    """A real Slurm on this machine; the test is skipped, visibly, where it cannot be had.

    Its commands speak to it through the environment, which the test's own process shares while it runs.
    """
    from clusters import at_work
    from one_machine_slurm import OneMachineSlurm

    with at_work(OneMachineSlurm(), "no Slurm") as cluster:
        yield cluster
