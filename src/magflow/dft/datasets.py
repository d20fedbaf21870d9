"""What can be wrong with the file a code needs for each element: a PAW dataset, a POTCAR, a pseudopotential."""

from __future__ import annotations

from magflow.errors import InputError, MissingToolError


class MissingDatasetError(MissingToolError):
    """No dataset for an element."""


class MixedFunctionalsError(InputError):
    """A dataset of another functional than the one asked for, or of another element."""
