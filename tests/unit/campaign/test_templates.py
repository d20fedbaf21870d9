from __future__ import annotations

from pathlib import Path

import pytest

from magflow.campaign.jsonschema import campaign_schema
from magflow.campaign.load import all_keys
from magflow.campaign.schema import CampaignSpec
from magflow.campaign.source import parse_source
from magflow.campaign.templates import template_names, template_text
from magflow.core import plugins

WORKFLOWS = Path(__file__).parents[3] / "workflows"


@pytest.mark.parametrize("name", template_names())
def test_workflows_and_templates_are_the_same_files(name):
    assert (WORKFLOWS / f"{name}.yaml").read_text() == template_text(name)


@pytest.mark.parametrize("name", ["feal", "feal_quick"])
def test_the_first_templates_explain_themselves(name):
    """Nearly every key that holds a value has a comment on its line."""
    lines = [line for line in template_text(name).splitlines() if ":" in line.split("#")[0]]
    silent = [line for line in lines if "#" not in line and not line.rstrip().endswith(":")]
    assert len(silent) < 0.3 * len(lines), silent


def test_every_key_is_described():
    fields = [CampaignSpec.model_fields[key[0]] for key in all_keys(CampaignSpec) if len(key) == 1]
    assert all(field.description for field in fields)


def test_schema_of_editors():
    schema = campaign_schema()
    names = schema["$defs"]["LabelSpec"]["properties"]["engine"]["enum"]
    assert names == plugins.names(plugins.LABEL_ENGINES)
    for name in names + plugins.names(plugins.POTENTIAL_FAMILIES):
        assert schema["$defs"][name]["additionalProperties"] is False
    assert schema["additionalProperties"] is False

    def references(part):
        if isinstance(part, dict):
            yield from ([part["$ref"]] if "$ref" in part else [])
            for inner in part.values():
                yield from references(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from references(inner)

    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"], reference


@pytest.mark.parametrize("name", template_names())
def test_templates_satisfy_the_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(parse_source(template_text(name), name).data, campaign_schema())
