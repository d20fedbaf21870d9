"""magflow: active learning of magnetic interatomic potentials on constrained DFT."""

from importlib.metadata import version

__version__ = version("magflow")
