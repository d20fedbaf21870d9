"""``magflow daemon``: pilot jobs in Slurm's queue as long as there is work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magflow.cli.options import Json

if TYPE_CHECKING:
    from magflow.execution.cluster.directory import ClusterDirectory
    from magflow.execution.daemon.process import Holder

daemon = typer.Typer(no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that describes the cluster.")]


@daemon.callback()
def _group() -> None:
    """Keep pilot jobs in Slurm's queue while there is work, and offer lost jobs again.

    One daemon looks after one LaunchPad on one cluster, with all campaigns that were submitted to it. It runs on a
    login node, needs next to nothing, and keeps nothing of its own: kill it and start another, and it goes on.

    Examples:

        magflow daemon start ~/cluster

        magflow daemon status ~/cluster
    """


@daemon.command()
def start(
    directory: Directory,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Do not return; log to the terminal too. For systemd.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the daemon of a cluster.

    Exit code 0: it is at work; 2: a file is wrong; 3: FireWorks or Slurm is missing; 4: the database refuses us;
    5: a daemon is at work already.

    Examples:

        magflow daemon start ~/cluster

        magflow daemon start ~/cluster --foreground      # as a systemd service
    """
    from magflow.execution.cluster.check import require_cluster
    from magflow.execution.cluster.directory import ClusterDirectory
    from magflow.execution.daemon.process import refuse_second, serve
    from magflow.execution.daemon.process import start as start_daemon

    here = ClusterDirectory.existing(directory)
    refuse_second(here)
    require_cluster(here)
    if foreground:
        serve(here, foreground=True)
        return
    found = start_daemon(here)
    _tell({"running": True, **_about(found)}, as_json, f"daemon at work: process {found.pid} on {found.host}")


@daemon.command()
def stop(
    directory: Directory,
    cancel_pilots: Annotated[
        bool, typer.Option("--cancel-pilots", help="Cancel the cluster's pilot jobs too; what they run is lost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stop the daemon of a cluster. Pilot jobs go on until they find no work, unless --cancel-pilots.

    Exit code 0: none is at work now; 5: it runs on another machine, or does not end.
    """
    from magflow.execution.cluster import slurm
    from magflow.execution.cluster.directory import ClusterDirectory
    from magflow.execution.daemon.process import stop as stop_daemon

    here = ClusterDirectory.existing(directory)
    found = stop_daemon(here)
    cancelled = []
    if cancel_pilots:
        cancelled = [job.number for job in slurm.jobs_named(f"{here.spec.name}-")]
        slurm.cancel(cancelled)
    said = "there was no daemon at work" if found is None else f"stopped process {found.pid}"
    said += f", cancelled {len(cancelled)} pilot jobs" if cancel_pilots else ""
    _tell({"stopped": found is not None, "cancelled": cancelled}, as_json, said)


@daemon.command()
def status(directory: Directory, as_json: Json = False) -> None:
    """Say whether the daemon is at work, and what it saw in its last round.

    Exit code 0: at work; 1: not.
    """
    from magflow.execution.cluster.directory import ClusterDirectory
    from magflow.execution.daemon.process import holder
    from magflow.execution.daemon.rounds import last_round

    here = ClusterDirectory.existing(directory)
    found, seen = holder(here), last_round(here)
    if as_json:
        _tell({"running": found is not None, **_about(found), "last_round": seen}, True, "")
    else:
        _show(here, found, seen)
    if found is None:
        raise typer.Exit(1)


@daemon.command()
def logs(
    directory: Directory,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to show.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
) -> None:
    """Show what the daemon has written; older logs are beside it as daemon.log.1, ..."""
    from collections import deque

    from magflow.errors import InputError
    from magflow.execution.cluster.directory import ClusterDirectory
    from magflow.execution.daemon.process import LOG

    path = ClusterDirectory.existing(directory).path / LOG
    if not path.is_file():
        raise InputError("there is no log yet", where=str(path), hint="`magflow daemon start DIR`")
    with path.open(encoding="utf-8", errors="replace") as file:
        typer.echo("".join(deque(file, maxlen=lines)), nl=False)
        while follow:
            text = file.read()
            if text:
                typer.echo(text, nl=False)
            elif path.stat().st_size < file.tell():  # it was put aside; the new one begins
                return logs(directory, 0, follow)
            else:
                time.sleep(0.5)
    return None


def _about(found: Holder | None) -> dict[str, Any]:
    return {} if found is None else {"pid": found.pid, "host": found.host, "since": found.since}


def _tell(content: dict[str, Any], as_json: bool, words: str) -> None:
    from magflow.cli.printing import print_json

    if as_json:
        print_json(content)
    else:
        typer.echo(words)


def _show(cluster: ClusterDirectory, found: Holder | None, seen: dict[str, Any] | None) -> None:
    from rich.text import Text

    from magflow.cli.printing import console, print_table
    from magflow.execution.status import age
    from magflow.presentation.tables import Table

    out = console()
    if found is None:
        out.print(f"cluster {cluster.spec.name}: no daemon at work; `magflow daemon start {cluster.path}`")
    else:
        where = f"process {found.pid} on {found.host}"
        out.print(f"cluster {cluster.spec.name}: {where}, for {age(time.time() - found.since)}")
    if seen is None:
        return
    out.print(f"last round {age(time.time() - seen['at'])} ago")
    if seen["categories"]:
        keys = ("ready", "running", "pilots_pending", "pilots_running", "sent")
        heads = ("category", "jobs ready", "running", "pilots waiting", "running", "sent")
        rows = [(name, *(row[key] for key in keys)) for name, row in seen["categories"].items()]
        print_table(Table(heads, rows, frozenset(range(1, len(heads)))))
    for line in (*seen["offered_again"], *seen["trouble"]):
        out.print(Text(line, style="yellow"))
