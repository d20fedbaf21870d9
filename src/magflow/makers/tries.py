"""What earlier tries of the job at hand have cost. Who runs jobs says it, the documents that count costs add it."""

from __future__ import annotations

from contextvars import ContextVar

from magflow.core.label import Cost

_NOTHING = Cost()

LOST: ContextVar[Cost] = ContextVar("LOST", default=_NOTHING)
"""Of tries that came to nothing: their worker was killed, or they ended in an error that was tried again."""
