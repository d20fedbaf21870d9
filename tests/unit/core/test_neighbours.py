"""Neighbour lists do not wait for PyTorch, and nobody else has to do without it."""

import os
import subprocess
import sys

TORCH = "uint64 = int32 = float64 = None\nclass Tensor: pass\n"
CODE = """
import sys
import magflow.core.neighbours as ours
assert "torch" not in sys.modules
import vesin, vesin._neighbors
assert vesin._neighbors.HAS_TORCH
assert vesin.NeighborList is not ours.NeighborList
import numpy as np
found = [kind(cutoff=2.5, full_list=True).compute(np.zeros((1, 3)), 2.4 * np.eye(3), True, "d")[0].tolist()
         for kind in (ours.NeighborList, vesin.NeighborList)]
assert found[0] == found[1] == [2.4] * 6, found
"""


def test_torch_is_left_alone(tmp_path):
    (tmp_path / "torch.py").write_text(TORCH)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
