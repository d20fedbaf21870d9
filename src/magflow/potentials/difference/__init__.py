"""A potential that was there, kept as it is, and one fitted to what it leaves of the labels: together one potential."""

from magflow.potentials.difference.family import DifferenceFamily
from magflow.potentials.difference.potential import DifferencePotential

__all__ = ["DifferenceFamily", "DifferencePotential"]
