"""The version of this magflow, as installed."""

from importlib.metadata import version

__version__ = version("magflow")
