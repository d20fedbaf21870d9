"""CHGNet (``chgnet``): a foundation model that fits of labels and force constants go on from."""

from magflow.potentials.chgnet.family import ChgnetFamily
from magflow.potentials.chgnet.potential import ChgnetPotential

__all__ = ["ChgnetFamily", "ChgnetPotential"]
