"""The page: a record in, one self-contained HTML document out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magflow.core.files import replace_file
from magflow.errors import StoreError
from magflow.presentation.formats import number, plural
from magflow.presentation.page import render as render_page
from magflow.report import headline, sections, tables
from magflow.report.record import CampaignRecord
from magflow.studies.base import sections_of


def render(record: CampaignRecord) -> str:
    """The HTML of a report."""
    return render_page("magflow.report", "report.html.j2", **context(record))


def render_served(record: CampaignRecord, state: Mapping[str, Any]) -> str:
    """The same under a strip with the `state` of the campaign, with the script that keeps both up to date."""
    return render_page("magflow.report", "served.html.j2", state=state, **context(record))


def context(record: CampaignRecord) -> dict[str, Any]:
    """Everything the template needs."""
    calibration, calibration_table = sections.calibration(record)
    worst, structures = sections.worst(record)
    levels = {x.level_of_theory_id: x.level_of_theory for x in record.labels}
    return {
        "record": record,
        "verdict": headline.verdict(record),
        "goals": headline.goals(record),
        "assessed": headline.last_assessed(record),
        "facts": headline.facts(record),
        "commands": headline.commands(record),
        "convergence": sections.convergence(record),
        "parity": sections.parity(record),
        "worst": worst,
        "structures": structures,
        "calibration": calibration,
        "calibration_table": calibration_table,
        "foretold": sections.foretold(record),
        "studies": sections_of(record.studies),
        "coverage": sections.coverage(record),
        "reasons": sections.reasons(record),
        "cost": sections.cost(record),
        "durations": sections.durations(record),
        "timeline": sections.timeline(record),
        "levels": [tables.level_of_theory(level) for level in levels.values()],
        "plural": plural,
        "failed_count": plural(len(record.failed), "label"),
        "tables": {
            name: getattr(tables, name)(record)
            for name in (
                "iterations", "strata_errors", "strata", "reasons", "sources", "health", "trust", "failures",
                "failed_labels", "apart", "cost", "labels", "models", "provenance", "failed_jobs", "work",
            )
        },
        "number": number,
        "apart_limit": tables.APART,
    }  # fmt: skip


def write(record: CampaignRecord, path: Path) -> Path:
    """Write the page to `path` in one step, so that a reader never meets half a page.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    try:
        replace_file(path, render(record).encode())
    except StoreError as error:
        raise StoreError(
            "the report cannot be written", where=str(path), seen=error.message, hint="choose another file with -o"
        ) from error
    return path
