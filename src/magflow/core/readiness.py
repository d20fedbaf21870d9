"""What is to be there before work begins, asked of engines and families by their probes."""

from __future__ import annotations

from collections.abc import Iterable

from magflow.core.protocols import Probe
from magflow.errors import MagflowError, MissingToolError


def require_all(probes: Iterable[Probe], error: type[MagflowError] = MissingToolError) -> None:
    """Refuse to begin if a probe failed; the first that did is told, the others in its text.

    Raises
    ------
    MissingToolError
        Or `error`.
    """
    failed = [probe for probe in probes if not probe.ok]
    if failed:
        first, *others = failed
        more = "".join(f"; {probe.name}: {probe.detail}" for probe in others)
        raise error(f"{first.detail}{more}", where=first.name, hint=first.hint or None)
