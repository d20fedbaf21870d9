"""FLARE: a sparse Gaussian process on the atomic cluster expansion, which tells the variance of all it predicts."""

from magflow.potentials.flare.family import FlareFamily
from magflow.potentials.flare.potential import FlarePotential

__all__ = ["FlareFamily", "FlarePotential"]
