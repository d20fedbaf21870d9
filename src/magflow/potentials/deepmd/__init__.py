"""DeePMD: Deep Potentials (``dp``) and DeepSPIN (``dp-spin``), trained and evaluated by deepmd-kit on PyTorch."""

from magflow.potentials.deepmd.family import DpFamily, DpSpinFamily
from magflow.potentials.deepmd.potential import DeepmdPotential
from magflow.potentials.deepmd.settings import DeepmdWeights

__all__ = ["DeepmdPotential", "DeepmdWeights", "DpFamily", "DpSpinFamily"]
