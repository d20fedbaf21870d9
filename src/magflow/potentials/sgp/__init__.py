"""A Gaussian process on the descriptors of an mMTP: one fit, and the variance of all it predicts."""

from magflow.potentials.sgp.family import SgpFamily
from magflow.potentials.sgp.potential import SgpPotential

__all__ = ["SgpFamily", "SgpPotential"]
