"""NequIP (``nequip``), a NequIP that reads collinear moments (``nequip-spin``), and Allegro (``allegro``)."""

from magflow.potentials.nequip.family import AllegroFamily, NequipFamily, NequipSpinFamily
from magflow.potentials.nequip.potential import NequipPotential
from magflow.potentials.nequip.settings import NequipWeights

__all__ = ["AllegroFamily", "NequipFamily", "NequipPotential", "NequipSpinFamily", "NequipWeights"]
