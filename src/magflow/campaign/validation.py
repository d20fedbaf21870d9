"""The section `validation` of a campaign file: what the finished potential is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator

from magflow.campaign.base import Section, known_plugin, plugin_settings
from magflow.core import plugins
from magflow.properties.base import Property, property_of, usual
from magflow.properties.measurement import Moments

_NAMES_OR_SETTINGS: dict[str, Any] = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": "object"}},
        {"type": "array", "items": {"type": "string"}},
    ]
}


class ValidationSpec(Section):
    """What is measured on the finished potential: properties of the campaign's crystals."""

    properties: Annotated[dict[str, dict[str, Any]], WithJsonSchema(_NAMES_OR_SETTINGS)] = Field(
        default_factory=dict,
        description="Names of properties to their settings, a list of names, or nothing: all but those on request.",
    )
    quick: bool = Field(True, description="Settings that answer within minutes; those given have the last word.")
    structures: tuple[str, ...] = Field((), description="Prototypes to measure; left out: one of each crystal.")
    moments: Literal["relaxed", "relaxed-once", "fixed"] = Field(
        "relaxed", description="What becomes of the moments: at rest in every configuration, in the first, or kept."
    )
    against: Literal["none", "dft"] = Field(
        "none", description="dft: the label engine computes the configurations of properties at rest, too."
    )
    references: tuple[Path, ...] = Field(
        (),
        description="Files of reference values with their sources, or names of those that come with magflow: iron, "
        "feal_own_dft.",
    )

    @field_validator("properties", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, list):
            given = {name: {} for name in given}
        if not isinstance(given, dict):
            return given
        for name, settings in given.items():
            plugin_settings(plugins.PROPERTIES, known_plugin(plugins.PROPERTIES, name), settings or {})
        return {name: settings or {} for name, settings in given.items()}

    def asked(self) -> dict[str, Property]:
        """The properties by name, with their settings."""
        wanted = self.properties or {name: {} for name in usual()}
        return {name: property_of(name, settings, quick=self.quick) for name, settings in wanted.items()}

    def treatment(self) -> Moments:
        """What becomes of the moments."""
        return Moments(self.moments)
