from __future__ import annotations

import numpy as np
import pytest
from mmtp_models import random_potential

from magflow.errors import InputError
from magflow.potentials.mmtp.basis import enumerate_basis
from magflow.potentials.mmtp.model import Form


@pytest.mark.parametrize(
    ("level", "count"), [(2, 1), (4, 2), (6, 5), (8, 9), (10, 16), (12, 29), (14, 52), (16, 92), (18, 163), (20, 288)]
)
def test_number_of_scalars(level, count):
    assert enumerate_basis(level).n_scalar == count


@pytest.mark.parametrize(("level", "n_mu", "n_basic"), [(8, 2, 11), (12, 3, 46), (16, 4, 130), (20, 5, 295)])
def test_table_sizes(level, n_mu, n_basic):
    basis = enumerate_basis(level)
    assert (basis.n_mu, len(basis.basic)) == (n_mu, n_basic)


def test_products_come_in_order():
    times = enumerate_basis(16).times
    assert (times[:, :2].max(axis=1) < times[:, 2]).all()
    assert (np.diff(times[:, 2]) >= 0).all()


def test_paper_form_has_the_published_number_of_parameters():
    paper = random_potential(Form.PAPER, level=12, n_psi=2, n_phi=8)
    even = random_potential(Form.EVEN, level=12, n_psi=3, n_phi=8)
    assert len(paper.model.parameters) == 415
    assert len(even.model.parameters) == 511


@pytest.mark.parametrize("level", [1, 21])
def test_level_out_of_range(level):
    with pytest.raises(InputError, match="level"):
        enumerate_basis(level)


def test_basis_functions_are_independent():
    potential = random_potential(level=12, n_psi=1, species=("Fe",))
    from mmtp_models import random_frame

    frames = [random_frame(seed, ("Fe",)) for seed in range(30)]
    values = potential.basis_values(potential.geometry(frames))
    scaled = values / np.sqrt((values**2).mean(axis=0))
    assert np.linalg.matrix_rank(scaled, tol=1e-9) == 29
