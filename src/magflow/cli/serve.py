"""``magflow serve``: the report of a campaign in a browser, live."""

from __future__ import annotations

from typing import Annotated

import typer

from magflow.cli.options import Campaign, Json


def serve(
    directory: Campaign,
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any that is free.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; the default is this machine alone.")] = (
        "127.0.0.1"
    ),
    browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Show the report of a campaign in a browser and keep it up to date while the campaign runs, until Ctrl-C.

    The address that is printed holds a token; without it nothing is shown. It reads and never writes. From another
    machine, forward the port: `ssh -L 8800:127.0.0.1:8800 HOST`, with `--port 8800` there.

    Examples:

        magflow serve runs/feal --open

        magflow serve runs/feal --port 8800
    """
    from magflow.cli.printing import print_json
    from magflow.report.serving import ReportServer

    with ReportServer(directory, host, port) as server:
        if not server.is_private:
            typer.echo("others can reach this address; what it shows travels unencrypted", err=True)
        if as_json:
            print_json({"url": server.url})
        else:
            typer.echo(f"{server.url}\nCtrl-C ends it")
        if browser:
            typer.launch(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            raise typer.Exit from None
