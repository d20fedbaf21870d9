"""Every job store of a campaign keeps the contract: SQLite, mongomock in process, the wire double, a real MongoDB."""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

from doubles.databases import fresh_database
from magflow.stores.jobstore import job_store_from_settings
from magflow.testing import JobStoreContract

IN_MEMORY = {"docs_store": {"type": "MemoryStore"}, "additional_stores": {"data": {"type": "MemoryStore"}}}


@pytest.fixture(scope="module", params=["sqlite", "mongomock", "wire-double", "mongodb"])
def contract(request, tmp_path_factory):
    folders = (tmp_path_factory.mktemp(f"store{n}") for n in itertools.count())
    if request.param == "sqlite":
        yield JobStoreContract(lambda: job_store_from_settings(None, next(folders)))
    elif request.param == "mongomock":
        yield JobStoreContract(lambda: job_store_from_settings(IN_MEMORY, next(folders)), outlives_the_process=False)
    else:
        double = request.param == "wire-double"
        server = request.getfixturevalue("wire_mongo").uri if double else request.getfixturevalue("mongodb_server")
        with ExitStack() as databases:

            def make():
                uri = databases.enter_context(fresh_database(server))
                return job_store_from_settings({"mongodb": {"uri": uri, "patience": 5.0}}, next(folders))

            yield JobStoreContract(make)


@pytest.mark.parametrize("clause", JobStoreContract.clauses())
def test_contract(contract, clause):
    contract.check(clause)
