"""A server of models: what it says of an extension that is lacking, and how it learns that a model has changed."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.errors import MissingToolError
from magflow.potentials.outside.process import Program, Server

BACKEND = """
import numpy as np

def versions(*needs):
    for name in needs:
        __import__(name)
    return {"gadget": "1.0", "torch": "2.13.0"}

def load(arrays):
    if "extension" in arrays:
        __import__(str(arrays["extension"]))
    return float(arrays["value"])

def evaluate(model, arrays):
    return {"value": np.array(model)}
"""


@pytest.fixture
def program(tmp_path, monkeypatch) -> Program:
    """Has the name of a setting for its Python, and needs what is nowhere."""
    monkeypatch.delenv("MAGFLOW_NEQUIP_PYTHON", raising=False)
    (tmp_path / "backend.py").write_text(BACKEND)
    return Program("gadget", "nequip", tmp_path / "backend.py", needs=("extension_that_is_nowhere",))


@pytest.fixture
def server(program):
    server = Server(program)
    yield server
    server.close()


def test_a_model_of_an_extension_that_is_lacking_says_how_to_install_it(server):
    model = {"extension": np.array("extension_that_is_nowhere"), "value": np.array(1.0)}
    with pytest.raises(MissingToolError, match=r"No module named 'extension_that_is_nowhere'.*magflow\[nequip\]"):
        server.evaluate("key", lambda: model)


def test_a_model_is_loaded_again_where_it_may_be_held(server):
    server.renew("key", lambda: pytest.fail("nobody holds it"))
    assert server.evaluate("key", lambda: {"value": np.array(1.0)})["value"] == 1.0
    assert server.evaluate("key", lambda: pytest.fail("it is known"))["value"] == 1.0
    server.renew("key", lambda: {"value": np.array(2.0)})
    assert server.evaluate("key", lambda: pytest.fail("it is known"))["value"] == 2.0
