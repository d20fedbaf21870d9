"""The page: a record in, one self-contained HTML document out."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magflow.core.files import replace_file
from magflow.core.masking import mask
from magflow.errors import StoreError
from magflow.presentation.blocks import number, plural
from magflow.report import headline, sections, tables
from magflow.report.record import CampaignRecord
from magflow.studies.compare import section as compare
from magflow.studies.transfer import section as transfer

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(record: CampaignRecord) -> str:
    """The HTML of a report.

    Every text of the record is escaped and stripped of credentials on its way into the page; the page runs no
    script and may load nothing (it says so itself, in its content security policy).
    """
    return environment().get_template("report.html.j2").render(context(record), style=page_style())


def environment() -> Environment:
    """Templates of pages: texts are escaped and lose credentials, names that are not there are errors."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in ("magflow.report", "magflow.presentation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_masked,
    )


def page_style() -> Markup:
    """The style sheet that every page holds."""
    return _trusted(resources.files("magflow.presentation").joinpath("templates/style.css").read_text(encoding="utf-8"))


def _trusted(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def _masked(value: Any) -> Any:
    """Hook of the template: plain strings lose credentials, markup made here passes."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else mask(value)


def context(record: CampaignRecord) -> dict[str, Any]:
    """Everything the template needs."""
    calibration, calibration_table = sections.calibration(record)
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
        "calibration": calibration,
        "calibration_table": calibration_table,
        "foretold": sections.foretold(record),
        "transfer": transfer.campaign_section(record.transfers),
        "coverage": sections.coverage(record),
        "reasons": sections.reasons(record),
        "cost": sections.cost(record),
        "durations": sections.durations(record),
        "timeline": sections.timeline(record),
        "comparison": None if record.comparison is None else compare.section(record.comparison),
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
