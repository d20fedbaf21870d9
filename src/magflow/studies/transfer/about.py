"""What a transfer was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magflow.studies.transfer.question import question_of, states_of

if TYPE_CHECKING:
    from magflow.studies.transfer.task import TransferTask


def about(task: TransferTask) -> dict[str, Any]:
    """Question, settings and labels of a task, JSON-ready."""
    parts = {"non_magnetic": task.non_magnetic, "pool": task.pool, "test": task.test}
    correction = {} if task.correction is None else {"correction": task.correction.model_dump(mode="json")}
    return {
        "question": str(question_of(task.family)),
        "magnetic_states": states_of(task.family, [*task.pool, *task.test]),
        "elements": list(task.elements),
        "family": task.family.name,
        "settings": task.family.model_dump(mode="json"),
        "pretraining": task.pretraining.model_dump(mode="json"),
        **correction,
        "schedule": task.schedule.model_dump(mode="json"),
        "labels": {
            name: {
                "count": len(part),
                "kinds": [str(kind) for kind in part.kinds],
                "core_hours": sum(item.label.cost.core_hours for item in part),
                "cpu_hours": sum(item.label.cost.cpu_seconds for item in part) / 3600.0,
                "fingerprint": part.fingerprint,
            }
            for name, part in parts.items()
        },
    }
