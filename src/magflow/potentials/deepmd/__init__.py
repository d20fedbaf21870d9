"""DeePMD: Deep Potentials (``dp``) and DeepSPIN (``dp-spin``), trained and evaluated by deepmd-kit on PyTorch."""

from magflow.potentials.deepmd.family import DeepmdWeights, DpFamily, DpSpinFamily
from magflow.potentials.deepmd.potential import DeepmdPotential

__all__ = ["DeepmdPotential", "DeepmdWeights", "DpFamily", "DpSpinFamily"]
