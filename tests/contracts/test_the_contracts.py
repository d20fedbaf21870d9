"""The contracts reject what breaks them, and name the clause."""

from __future__ import annotations

import re

import broken_plugins as broken
import pytest

from magflow.potentials.mmtp import MmtpPotential
from magflow.stores.jobstore import campaign_store
from magflow.testing import (
    Contract,
    ContractError,
    JobStoreContract,
    LabelEngineContract,
    PotentialContract,
    PotentialFamilyContract,
)


def rejects(contract: Contract, clause: str) -> None:
    with pytest.raises(ContractError, match=rf"^{clause}: \S.*\n\S") as caught:
        contract.check(clause)
    # for what it says, not because the broken plug-in fails by itself; but one of them is broken in that way
    assert isinstance(caught.value.__cause__, ContractError) or clause == "no_frames"


@pytest.mark.parametrize("name", broken.ENGINES)
def test_a_broken_engine_is_rejected(name):
    make, clause = broken.ENGINES[name]
    rejects(LabelEngineContract(make()), clause)


@pytest.mark.parametrize("name", broken.POTENTIALS)
def test_a_broken_potential_is_rejected(name):
    make, clause = broken.POTENTIALS[name]
    rejects(PotentialContract(make(), MmtpPotential.from_bytes), clause)


def test_a_broken_loader_is_rejected():
    (load, clause), *_ = broken.LOADERS.values()
    rejects(PotentialContract(broken.fitted()[0], load), clause)


@pytest.mark.parametrize("name", broken.FAMILIES)
def test_a_broken_family_is_rejected(name):
    make, clause = broken.FAMILIES[name]
    rejects(PotentialFamilyContract(make()), clause)


def test_a_family_whose_members_are_alike_is_rejected(monkeypatch):
    from magflow.core import plugins

    alike = broken.family()
    monkeypatch.setattr(plugins, "load", lambda group, name: type(alike))
    rejects(PotentialFamilyContract(alike), broken.ALIKE)


@pytest.mark.parametrize("kind", broken.STORES)
def test_a_broken_store_is_rejected(kind, tmp_path_factory):
    def make():
        good = campaign_store(tmp_path_factory.mktemp("store"))
        store = kind(good.docs_store, additional_stores=good.additional_stores)
        store.connect()
        return store

    rejects(JobStoreContract(make), broken.STORES[kind])


def test_every_clause_rejects_something():
    tables = (
        (LabelEngineContract, [clause for _, clause in broken.ENGINES.values()]),
        (PotentialContract, [clause for _, clause in (broken.POTENTIALS | broken.LOADERS).values()]),
        (JobStoreContract, list(broken.STORES.values())),
    )
    for contract, rejected in tables:
        assert set(contract.clauses()) == set(rejected)
    of_families = [clause for _, clause in broken.FAMILIES.values()] + [broken.ALIKE]
    assert set(PotentialFamilyContract.clauses()) - set(PotentialContract.clauses()) == set(of_families)


def test_broken_names_every_clause_at_once_and_leaves_out_what_does_not_apply():
    class Three(Contract):
        @staticmethod
        def clauses():
            return ["kept", "not_asked", "wrong"]

        def kept(self):
            """Holds."""

        def not_asked(self):
            """Does not apply."""
            import unittest

            raise unittest.SkipTest("no moments")

        def wrong(self):
            """One is two."""
            raise ZeroDivisionError("no")

    found = Three().broken()
    assert list(found) == ["wrong"]
    assert re.match(r"wrong: One is two\.\nZeroDivisionError: no", found["wrong"])
