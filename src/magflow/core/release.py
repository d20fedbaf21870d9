"""The version of this magflow, as installed."""

from importlib.metadata import PackageNotFoundError, version

__version__ = version("magflow")


def replaced() -> bool:
    """Whether another magflow has been installed since this process began, or is being installed now."""
    try:
        return version("magflow") != __version__
    except PackageNotFoundError:
        return True
