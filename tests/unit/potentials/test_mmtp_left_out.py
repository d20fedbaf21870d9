"""What a fit would have said of its labels, had it not learnt from them, against fits that have not."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from test_mmtp_posterior import FAMILY, ITEMS

from magflow.core.comparison import compare
from magflow.core.dataset import Dataset
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.unseen import TellsUnseen
from magflow.potentials.ensemble import PotentialEnsemble, as_labelled
from magflow.potentials.members import fit_member, member_labels, unseen_by_member
from magflow.potentials.mmtp.left_out import left_out
from magflow.potentials.mmtp.posterior import Posterior, inverse_root

MEMBER = {"seed": 1, "member": 0}


def alone(prediction) -> EnsemblePrediction:
    return EnsemblePrediction.from_members([prediction])


def test_of_a_linear_model_it_is_what_fits_without_the_label_leave():
    rng = np.random.default_rng(4)
    begin, size = np.array([0, 3, 8, 10]), 6
    jacobian, target = rng.normal(size=(10, size)), rng.normal(size=10)
    weights = rng.uniform(0.5, 2.0, 10)
    weights[4] = 0.0  # a number that its label lacks
    precision = np.diag(rng.uniform(0.1, 1.0, size))

    def fitted(rows: np.ndarray) -> np.ndarray:
        part = weights[rows, None] * jacobian[rows]
        return np.linalg.solve(part.T @ part + precision, part.T @ (weights * target)[rows])

    whole = fitted(np.arange(10))
    problem = SimpleNamespace(
        chunks=[(0, 2), (2, 3)],
        layout=SimpleNamespace(begin=begin),
        targets=SimpleNamespace(values=target, weights=weights),
        rows=lambda x, a, b: (
            jacobian[begin[a] : begin[b]] @ x,
            (weights[:, None] * jacobian)[begin[a] : begin[b]],
        ),
    )
    weighted = weights[:, None] * jacobian
    posterior = Posterior(inverse_root(weighted.T @ weighted + precision), whole, 0.0, 1.0)
    found = left_out(problem, posterior)
    for a, b in pairwise(begin.tolist()):
        expected = jacobian[a:b] @ fitted(np.setdiff1d(np.arange(10), np.arange(a, b))) - target[a:b]
        np.testing.assert_allclose(found[a:b], np.where(weights[a:b] > 0.0, expected, 0.0), atol=1e-10)


@pytest.fixture(scope="module")
def member():
    return fit_member(FAMILY, Dataset(ITEMS), elements=("Al", "Fe"), **MEMBER)[0]


def test_a_member_says_of_labels_outside_its_bag_what_it_predicts_and_of_others_what_it_would(member):
    assert isinstance(FAMILY, TellsUnseen)
    found = alone(unseen_by_member(FAMILY, member, Dataset(ITEMS), **MEMBER))
    said = as_labelled(PotentialEnsemble((member,), FAMILY.name), ITEMS)
    own = {item.label_id for item in member_labels(Dataset(ITEMS), **MEMBER)[0]}
    learnt = np.array([item.label_id in own for item in ITEMS])
    for quantity in QUANTITIES:
        unseen, seen = compare(found, ITEMS, quantity), compare(said, ITEMS, quantity)
        inside = learnt[seen.owner]
        np.testing.assert_array_equal(unseen.predicted[~inside], seen.predicted[~inside])
        rms = [np.sqrt(np.mean(np.square(x.error[inside]))) for x in (unseen, seen)]
        assert rms[0] > 1.5 * rms[1], f"{quantity}: what was learnt from is predicted too well"


def test_it_is_near_what_fits_without_the_label_say(member):
    """Real fits, each without one label, from where the fit to all of them ended."""
    own = member_labels(Dataset(ITEMS), **MEMBER)[0]
    found = alone(FAMILY.unseen(member, own, seed=0))
    left = own[::5]
    without = [
        FAMILY.fit([x for x in own if x is not item], elements=("Al", "Fe"), seed=0, start=member)[0] for item in left
    ]
    for quantity in QUANTITIES:
        whole = compare(found, own, quantity)
        guessed = np.concatenate([whole.error[whole.owner == 5 * k] for k in range(len(left))])
        true = np.concatenate(
            [
                compare(as_labelled(PotentialEnsemble((other,), "mmtp"), [item]), [item], quantity).error
                for item, other in zip(left, without, strict=True)
            ]
        )
        ratio = np.median(np.abs(guessed)) / np.median(np.abs(true))
        assert 0.4 < ratio < 2.5, quantity
        if quantity != "energy":  # five numbers
            assert np.corrcoef(guessed, true)[0, 1] > 0.3, quantity
