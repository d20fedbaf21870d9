"""How networks are compiled and kept; nequip is played by a script."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.compilation import CanBeCompiled
from magflow.errors import MissingToolError, StoreError
from magflow.potentials.nequip import NequipPotential
from magflow.potentials.nequip.compiled import crystal, prefix_of
from magflow.potentials.nequip.graph import graph

FORM = {
    "architecture": "allegro",
    "species": ["Al", "Fe"],
    "cutoff": 4.0,
    "precision": "float64",
    "network": {"layers": 1},
    "neighbours": 30.0,
    "closest": 2.3,
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGFLOW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nequip"


def potential(**changed) -> NequipPotential:
    return NequipPotential(FORM | changed, {"weight": np.arange(3.0)})


def test_it_is_kept_by_what_it_holds_and_nothing_else_stays(fake_nequip, cache):
    fake_nequip("")
    one, other = potential(), potential(neighbours=31.0)
    assert isinstance(one, CanBeCompiled)
    made = one.compile()
    assert (made.energy, made.forces, made.before, made.after) == (1e-16, 2e-15, 80, 20)
    assert made.cost.cpu_seconds == 60.0 and made.cost.wall_seconds > 0.0
    other.compile()
    files = sorted(path.name for path in cache.iterdir())
    assert len(files) == 2 and all(name.endswith("-fake.nequip.pt2") for name in files)
    assert cache.stat().st_mode & 0o077 == 0, "others could put programs there"


def test_models_are_told_where_they_are_kept_unless_they_are_not_to_be_used(cache, monkeypatch):
    key = potential()._key
    assert str(potential()._sent()["compiled"]) == prefix_of(key) == str(cache / key)
    monkeypatch.setenv("MAGFLOW_NEQUIP_COMPILED", "false")
    assert str(potential()._sent()["compiled"]) == ""


def test_without_a_compiler_one_line_says_what_to_do(fake_nequip, cache):
    fake_nequip("compiler")
    with pytest.raises(MissingToolError, match=r"cannot compile the model.*no C\+\+ compiler.*install g.*CXX"):
        potential().compile()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(("mode", "said"), [("extension", "named 'allegro'"), ("torch", "undefined symbol")])
def test_what_the_installation_lacks_comes_first(fake_nequip, cache, mode, said):
    fake_nequip(mode)
    with pytest.raises(MissingToolError, match=rf"does not start.*{said}.*magflow\[nequip\]"):
        potential().compile()


def test_a_folder_that_cannot_be_made(fake_nequip, cache):
    fake_nequip("")
    cache.parent.write_text("a file")
    with pytest.raises(StoreError, match=r"cannot be kept.*cache_dir"):
        potential().compile()


@pytest.mark.parametrize("neighbours", [1.0, 15.0, 58.0, 120.0])
def test_the_crystal_it_is_tried_on_is_as_dense_as_the_labels(neighbours):
    form = FORM | {"neighbours": neighbours, "moment_units": [0.1, 2.5]}
    frame = crystal(form)
    found = graph([frame], form["species"], form["cutoff"], magnetic=True)
    assert found["pairs"][0] / len(frame) == pytest.approx(max(neighbours, 12.0), rel=0.25)
    assert set(frame.species) == {"Al", "Fe"} and frame.magmoms.min() < 0.0 < frame.magmoms.max()
    assert np.abs(frame.magmoms[0::2]).max() <= 0.1 and crystal(FORM).magmoms is None
