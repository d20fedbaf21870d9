"""What a person sees while a campaign runs, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from magflow.cli.printing import console
from magflow.execution.states import JobState
from magflow.execution.status import CampaignStatus, age, campaign_status, line
from magflow.presentation.formats import plural
from magflow.presentation.quantities import quantity, shown

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from magflow.campaign.directory import CampaignDirectory
    from magflow.execution.local.executor import RunProgress
    from magflow.execution.queue_status import QueueStatus

_BAR = 40
"""Characters of the bar."""

_FAILED = 3
"""Failed jobs whose errors are shown."""

_QUIET = 60.0
"""Seconds without CPU time that a person is told of."""

_STATUS_EVERY = 2.0
"""Seconds between two readings of the store; the queue is read more often."""


@contextmanager
def display(directory: CampaignDirectory, *, quiet: bool = False) -> Iterator[Callable[[RunProgress], None] | None]:
    """What a run tells its progress: a live panel, lines where there is no terminal, nothing."""
    from rich.live import Live

    out = console(stderr=True)
    if quiet:
        yield None
    elif not out.is_terminal:
        yield _Lines(directory, out)
    else:
        with Live(console=out, refresh_per_second=4, transient=True) as live:
            yield _Screen(directory, live)


class _Screen:
    """Redraws the status panel."""

    def __init__(self, directory: CampaignDirectory, live: Any) -> None:
        self.directory, self.live, self.read = directory, live, 0.0

    def __call__(self, progress: RunProgress) -> None:
        if time.monotonic() - self.read >= _STATUS_EVERY:
            status = campaign_status(self.directory)
            self.live.update(panel(status, progress.elapsed))
            self.read = time.monotonic()


class _Lines:
    """Prints a line when phase or iteration change, every 10 labels and every minute."""

    def __init__(self, directory: CampaignDirectory, console: Any) -> None:
        self.directory, self.console = directory, console
        self.seen: tuple[int | None, str | None, int, int] | None = None

    def __call__(self, progress: RunProgress) -> None:
        status = campaign_status(self.directory)
        labels = status.labels + sum(done for done, _ in status.beside.values())
        now = (status.iteration, status.phase, labels // 10, int(progress.elapsed // 60))
        if now != self.seen and status.phase is not None:
            self.seen = now
            self.console.print(f"[{age(progress.elapsed):>12}] {line(status)}", soft_wrap=True)


def panel(status: CampaignStatus, elapsed: float | None = None) -> RenderableType:
    """The status as a panel."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    parts: list[Any] = [_facts(status, elapsed)]
    if status.queue is not None and status.queue.shared:
        parts += _queue_parts(status.queue)
    if status.note:
        parts.append(Text(status.note, "yellow"))
    if status.explanation:
        parts.append(Text.assemble((status.reason or "", "bold"), f": {status.explanation}"))
    parts += [Text.assemble((job["name"], "red"), f": {job['error']}") for job in status.failed_jobs[:_FAILED]]
    if (more := len(status.failed_jobs) - _FAILED) > 0:
        parts.append(Text(f"and {plural(more, 'more failed job')}: `magflow query DIR jobs --where 'state = FAILED'`"))
    return Panel(Group(*parts), title=Text(f"{status.name} - {status.state}"), title_align="left")


def _facts(status: CampaignStatus, elapsed: float | None) -> RenderableType:
    """A fact a row: what is done and to do, errors, cost and time, what runs."""
    from rich.table import Table

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column()
    where = "-" if status.iteration is None else f"{status.iteration}, {status.phase or status.state}"
    facts.add_row("iteration", where)
    facts.add_row("jobs", _jobs(status))
    facts.add_row("labels", _labels(status))
    if status.beside:
        texts = [f"{done} of {wanted} {purpose}" for purpose, (done, wanted) in status.beside.items()]
        facts.add_row("beside", ", ".join(texts))
    if status.domain:
        facts.add_row("domain", domain_text(status.domain, status.targets))
    facts.add_row("chosen, hard" if status.domain else "errors", errors_text(status.errors, status.targets))
    if status.phonons:
        facts.add_row("phonons", phonons_text(status.phonons))
    cost = f"{status.core_hours:.3f} core-hours"
    if status.cpu_seconds_per_label:
        cost += f", {status.cpu_seconds_per_label:.1f} CPU s per label"
    facts.add_row("cost", cost)
    if elapsed is not None:
        facts.add_row("elapsed", age(elapsed))
    if (status.seconds_left or 0) >= 1:
        facts.add_row("left", f"at most {age(status.seconds_left or 0)} of labels")
    for job in status.running[:4]:
        facts.add_row("running", _running(job))
    if status.label_budget:
        facts.add_row("budget", _bar((status.labels + status.labels_failed) / status.label_budget))
    return facts


def _bar(spent: float) -> Text:
    """The share of the budget that is spent; readable without colours too."""
    from rich.text import Text

    full = min(_BAR, int(_BAR * spent))
    return Text.assemble(("━" * full, "green"), ("┄" * (_BAR - full), "dim"), f" {100 * spent:.0f} % spent")


def _jobs(status: CampaignStatus) -> Text:
    from rich.text import Text

    done = status.jobs.get(JobState.COMPLETED, 0)
    open_ = sum(status.jobs.get(s, 0) for s in (JobState.WAITING, JobState.READY, JobState.RUNNING))
    failed = f", {status.jobs[JobState.FAILED]} failed" if status.jobs.get(JobState.FAILED) else ""
    return Text.assemble(f"{done} done, {open_} to do", (failed, "red"))


def _labels(status: CampaignStatus) -> Text:
    from rich.text import Text

    failures = ", ".join(f"{n} {kind}" for kind, n in status.failures.items())
    budget = f" of {status.label_budget}" if status.label_budget else ""
    told = f", failed: {failures}" if failures else ""
    return Text.assemble(f"{status.labels}{budget}", (told, "yellow"))


def _running(job: Mapping[str, Any]) -> Text:
    from rich.text import Text

    quiet = job.get("quiet_seconds") or 0.0
    still = f", no CPU time for {age(quiet)}" if quiet >= _QUIET else ""
    return Text.assemble(f"{job['name']} ({age(job['seconds'])}", (still, "yellow"), ")")


def _queue_parts(queue: QueueStatus) -> list[RenderableType]:
    """The queue of a campaign that other machines work on."""
    from rich.text import Text

    from magflow.cli.printing import grid
    from magflow.presentation.tables import Table

    columns = ("ready", "running", "waiting", "completed", "failed")
    heads = ("category", *columns, "core-hours")
    rows = [
        (name, *(getattr(row, column) for column in columns), f"{row.core_hours:.3f}")
        for name, row in queue.categories.items()
    ]
    table = grid(Table(heads, rows, frozenset(range(1, len(heads)))))
    said = f"{queue.jobs_per_hour:.0f} jobs per hour, {queue.losses} runs lost"
    who = ", ".join(f"{d['cluster']} on {d['host']}, {age(d['seconds'])} ago" for d in queue.daemons)
    if who:
        said += f"; daemon: {who}"
    if queue.unattended:
        said += "; no daemon at work: `magflow daemon start`"
    return [table, Text(said, style="yellow" if queue.unattended else "")]


def domain_text(domain: Mapping[str, Mapping[str, float | None]], targets: Mapping[str, float]) -> Text:
    """RMSE of each quantity over the domain and how large it may be, green where that is within its target."""
    from rich.text import Text

    from magflow.select.domain_error import labels_missing  # late: it needs what prints nothing

    texts = []
    for name, error in domain.items():
        rmse, high = error["rmse"], error["high"]
        if rmse is None:
            continue
        up_to = "" if high is None else f", at most {high * quantity(name).factor:.3g}"
        style = "" if high is None or name not in targets else "green" if high <= targets[name] else "yellow"
        texts.append(Text(f"{shown(name, rmse)}{up_to}{_target(name, targets)}", style))
    labels = max((int(e["labels"] or 0) for e in domain.values() if "labels" in e), default=0)
    said = [Text(f"of {plural(labels, 'random label')}")] if labels else []
    if missing := labels_missing(domain, targets):
        said.append(Text(f"{missing} more would show such errors to be within all targets", "yellow"))
    return Text("; ").join([*texts, *said])


def _target(name: str, targets: Mapping[str, float]) -> str:
    return f" (target {targets[name] * quantity(name).factor:.3g})" if name in targets else ""


def errors_text(errors: Mapping[str, float], targets: Mapping[str, float]) -> Text:
    """RMSE of each quantity, green where its target is met."""
    from rich.text import Text

    if not errors:
        return Text("not measured yet")
    texts = []
    for name, value in errors.items():
        style = "" if name not in targets else "green" if value <= targets[name] else "yellow"
        texts.append(Text(f"{shown(name, value)}{_target(name, targets)}", style))
    return Text(", ").join(texts)


def phonons_text(phonons: Mapping[str, Any]) -> Text:
    """Force constants before and after they were learnt, what that made the potential forget, and what was left out."""
    from rich.text import Text

    said = [] if phonons["tuned"] else [f"not learnt: {phonons['reason']}"]
    if phonons["tuned"]:
        before, after = phonons["mean_errors"]["rmse"]
        said.append(f"force constants {before:.3g} to {after:.3g} eV/A^2")
        part = phonons["judged_on"]
        changes = (f"{q.replace('_', ' ')} {100 * x:+.1f} %" for q, x in phonons["forgetting"][part].items())
        said.append(f"errors on labels ({part}): {', '.join(changes)}")
    said += [f"without {name}: {reason}" for name, reason in phonons["left_out"].items()]
    return Text("; ".join(said), "" if phonons["tuned"] else "yellow")


def show_ending(status: CampaignStatus, report: Path, models: Path | None, elapsed: float, *, as_json: bool) -> None:
    """Say how it ended, name the report and the potential, and set the exit code."""
    from magflow.cli.printing import print_json

    if as_json:
        print_json(status.as_dict() | {"models": models and str(models), "report": str(report)})
    else:
        _print_ending(status, report, models, elapsed)
    if not status.ok:
        raise typer.Exit(5)


def _print_ending(status: CampaignStatus, report: Path, models: Path | None, elapsed: float) -> None:
    out = console(soft_wrap=True)
    out.print(panel(status, elapsed))
    if models:
        out.print(f"potential: {models}")
    out.print(f"report:    {report}")
    if status.failed_jobs:
        out.print("some jobs failed; when the cause is removed, `magflow retry` offers them again")
