"""``magflow cluster``: the files that describe a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magflow.cli.options import Json

cluster = typer.Typer(no_args_is_help=True)


@cluster.callback()
def _group() -> None:
    """Describe a cluster: where its LaunchPad is, what pilot jobs ask Slurm for.

    Examples:

        magflow cluster init ~/cluster --partition cpu --account p123

        magflow check --cluster ~/cluster
    """


@cluster.command("init")
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write to; compute nodes must see it under the same path.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the cluster; pilot jobs are called NAME-CATEGORY. Default: the name of DIR."),
    ] = None,
    partition: Annotated[str | None, typer.Option(help="Slurm partition. Default: Slurm's default.")] = None,
    gpu_partition: Annotated[
        str | None, typer.Option(help="Partition with GPUs, for training and molecular dynamics.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Account that Slurm charges.")] = None,
    qos: Annotated[str | None, typer.Option(help="Quality of service.")] = None,
    walltime: Annotated[str, typer.Option(help="Walltime of a pilot job.")] = "24:00:00",
    longest_label: Annotated[
        str, typer.Option(help="Time of the longest label: a pilot with less left takes no new one.")
    ] = "02:00:00",
    cpus: Annotated[int, typer.Option(min=1, help="Processors of a pilot job.")] = 8,
    memory: Annotated[str | None, typer.Option(help="Memory of a pilot job, such as 16G.")] = None,
    max_pilots: Annotated[int, typer.Option(min=1, help="Pilot jobs for labels at once.")] = 8,
    database: Annotated[str, typer.Option(help="Database of the LaunchPad.")] = "magflow",
    mongo_uri_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable that holds the URI of the MongoDB server.")
    ] = "MAGFLOW_MONGO_URI",
    write_secret: Annotated[
        bool,
        typer.Option(
            "--write-secret", help="Write the URI itself into my_launchpad.yaml (mode 0600), for FireWorks' own lpad."
        ),
    ] = False,
    setup: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE", help="Line of shell a pilot needs first, such as 'module load abinit'. Repeat."),
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="Python that compute nodes run magflow with. Default: this one.")
    ] = None,
    located: Annotated[
        str | None, typer.Option("--as", metavar="PATH", help="DIR as compute nodes see it. Default: DIR.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write FireWorks', jobflow's and magflow's files for a Slurm cluster, filled in.

    The password of the database is in no file but, with --write-secret, my_launchpad.yaml, readable by its owner alone.
    Everything can be edited afterwards; `magflow check --cluster DIR` says whether it holds together.

    Examples:

        export MAGFLOW_MONGO_URI=mongodb://USER:PASSWORD@HOST/?tls=true

        magflow cluster init ~/cluster --partition cpu --gpu-partition gpu --account p123 --setup 'module load abinit'
    """
    import os
    import sys

    from magflow.cli.printing import print_json
    from magflow.errors import InputError
    from magflow.execution.cluster.files import ClusterOptions, write_cluster

    uri = os.environ.get(mongo_uri_env) if write_secret else None
    if write_secret and not uri:
        raise InputError(
            "there is no URI to write", where=mongo_uri_env, expected="mongodb://USER:PASSWORD@HOST/ in this variable"
        )
    options = ClusterOptions(
        directory=located or str(directory.absolute()),
        python=python or sys.executable,
        name=name or "".join(c for c in directory.absolute().name.lower() if c.isascii() and c.isalnum())[:16],
        partition=partition,
        gpu_partition=gpu_partition,
        account=account,
        qos=qos,
        walltime=walltime,
        longest_label=longest_label,
        cpus=cpus,
        memory=memory,
        max_pilots=max_pilots,
        database=database,
        uri_variable=mongo_uri_env,
        uri=uri,
        setup=tuple(setup or ()),
    )
    paths = write_cluster(directory, options, force)
    if as_json:
        print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        typer.echo(path)
    typer.echo(f"next: magflow check --cluster {directory}, then magflow daemon start {directory}")


@cluster.command("pilot")
def pilot(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `magflow cluster init` wrote.")],
    category: Annotated[str, typer.Argument(help="Of the work it takes: dft, train, md or light.")],
) -> None:
    """Be a pilot job: take work of one category from the LaunchPad until there is none, or too little time is left.

    The files in DIR/queue call this in Slurm's jobs; there is no need to call it by hand.
    """
    from magflow.execution.cluster.pilot import run_and_leave

    run_and_leave(directory, category)
