"""Networks that the real nequip trained, compiled by the real AOTInductor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.potentials.nequip import AllegroFamily, NequipFamily, NequipPotential, NequipSpinFamily
from magflow.potentials.nequip.program import PROGRAMS
from magflow.testing.springs import ELEMENTS, springs, two_atoms, without_moments

pytestmark = [pytest.mark.nequip, pytest.mark.slow, pytest.mark.usefixtures("nequip")]

LEARN = {"cutoff": 3.5, "layers": 1, "features": 8, "radial_functions": 6, "epochs": 4}
FAMILIES = {
    "nequip": NequipFamily(radial_neurons=16, **LEARN),
    "nequip-spin": NequipSpinFamily(radial_neurons=16, **LEARN),
    "allegro-float32": AllegroFamily(tensor_features=4, neurons=16, precision="float32", **LEARN),
}
ROUNDING = {"float64": 1e-12, "float32": 2e-5}
"""Of energies per atom in eV, forces, magnetic forces and stresses times volume."""


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def potential(request, nequip) -> NequipPotential:
    family = FAMILIES[request.param]
    labels = [springs(frame) for frame in two_atoms(16, seed=0)]
    labels = labels if family.magnetic else without_moments(labels)
    return family.fit(labels, elements=ELEMENTS, seed=1)[0]


def frames(potential: NequipPotential) -> list[Frame]:
    """Cells of many shapes, and one atom, which goes on uncompiled."""
    two = two_atoms(3, seed=5)
    one = Frame(("Fe",), 2.5 * np.eye(3), np.zeros((1, 3)), [1.0])
    found = [two[0], repeated(two[1], (1, 2, 1)), one, repeated(two[2], (2, 2, 3))]
    return found if potential.magnetic else [frame.non_magnetic() for frame in found]


def test_it_says_the_same_to_rounding_and_faster(potential, tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_CACHE_DIR", str(tmp_path))
    asked = frames(potential)
    before = potential.predict(asked)
    made = potential.compile()
    (file,) = (tmp_path / "nequip").iterdir()
    rounding = ROUNDING[potential.definition["precision"]]
    assert file.name.endswith(".nequip.pt2") and made.cost.cpu_seconds > 5.0
    assert made.energy < rounding and made.forces < rounding
    assert made.after < made.before

    after = potential.predict(asked)
    counts = np.array([len(frame) for frame in asked])
    volumes = np.array([frame.volume for frame in asked])[:, None]
    np.testing.assert_allclose(after.energy / counts, before.energy / counts, rtol=0, atol=rounding)
    np.testing.assert_allclose(after.forces, before.forces, rtol=0, atol=rounding)
    np.testing.assert_allclose(after.stress * volumes, before.stress * volumes, rtol=0, atol=10 * rounding)
    if potential.magnetic:
        np.testing.assert_allclose(after.magnetic_forces, before.magnetic_forces, rtol=0, atol=rounding)
        reversed_ = potential.predict([frame.time_reversed() for frame in asked])
        np.testing.assert_array_equal(reversed_.energy, after.energy)
    assert not np.array_equal(after.forces, before.forces), "the compiled network was not used"

    products = potential.hessian_vector_product(asked[0], np.ones((1, 2, 4)))
    assert np.isfinite(products).all()
    _breaks_off_with_a_line(potential, file)


def _breaks_off_with_a_line(potential: NequipPotential, file: Path) -> None:
    """A file cut short is named."""
    file.write_bytes(file.read_bytes()[:1000])
    PROGRAMS[potential.architecture].server().close()
    with pytest.raises(InputError, match=rf"cannot use the model.*{file.name}.*remove it"):
        potential.predict(frames(potential))
