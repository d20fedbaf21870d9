"""magflow: active learning of magnetic interatomic potentials on constrained DFT."""

from importlib.metadata import version

from magflow.core import moved_imports

__version__ = version("magflow")

moved_imports.install()
