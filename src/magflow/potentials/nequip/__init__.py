"""NequIP (``nequip``), and a NequIP that reads collinear moments (``nequip-spin``)."""

from magflow.potentials.nequip.family import NequipFamily, NequipSpinFamily
from magflow.potentials.nequip.potential import NequipPotential
from magflow.potentials.nequip.settings import NequipWeights

__all__ = ["NequipFamily", "NequipPotential", "NequipSpinFamily", "NequipWeights"]
