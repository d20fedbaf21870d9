"""``magflow schema``: the JSON schema of campaign files."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON schema of campaign files, the settings of all engines and potential families included.

    Editors with a YAML language server complete and check a campaign file with it. Put this line first in the file:

        # yaml-language-server: $schema=campaign.schema.json

    Examples:

        magflow schema > campaign.schema.json
    """
    import json

    from magflow.campaign.jsonschema import campaign_schema

    typer.echo(json.dumps(campaign_schema(), indent=2))
