"""JSON schema of campaign files, for editors."""

from __future__ import annotations

from typing import Any

from magflow.campaign.schema import CampaignSpec
from magflow.core import plugins


def campaign_schema() -> dict[str, Any]:
    """The schema, with the settings of every registered engine and family.

    The settings that belong to a name are tied to it: an editor offers those of the engine that the file names.
    """
    schema = CampaignSpec.model_json_schema()
    _tie(schema, "LabelSpec", "engine", plugins.LABEL_ENGINES)
    _tie(schema, "TrainSpec", "family", plugins.POTENTIAL_FAMILIES)
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "magflow campaign file"}


def _tie(schema: dict[str, Any], section: str, naming: str, group: str) -> None:
    """Put an enum of the registered names into `section`, and for each name the schema of its settings."""
    definition = schema["$defs"][section]
    names = plugins.names(group)
    definition["properties"][naming]["enum"] = names
    references = {}
    for name in names:
        inner = plugins.load(group, name).model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        schema["$defs"] |= {f"{name}.{model}": part for model, part in inner.pop("$defs", {}).items()}
        schema["$defs"][name] = inner
        references[name] = {"$ref": f"#/$defs/{name}"}
    description = definition["properties"]["settings"].get("description", "")
    definition["properties"]["settings"] = {"description": description, "anyOf": list(references.values())}
    definition["allOf"] = [
        {"if": {"properties": {naming: {"const": name}}}, "then": {"properties": {"settings": reference}}}
        for name, reference in references.items()
    ]
