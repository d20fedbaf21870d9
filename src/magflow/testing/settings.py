"""Clauses on settings, which engines and families share: both are frozen pydantic models of their own settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest import SkipTest

from pydantic import BaseModel, ValidationError

from magflow.core import plugins
from magflow.testing.contract import Contract, clause, demand, refused


@dataclass(frozen=True, eq=False)
class SettingsContract(Contract):
    """What the settings of every plug-in keep.

    Parameters
    ----------
    plugin
        The engine or family.
    registered
        False while its entry point is not installed: what needs it is skipped.
    """

    group: ClassVar[str]
    """Entry-point group it is registered in."""

    plugin: Any
    registered: bool = field(default=True, kw_only=True)

    @clause
    def is_registered_by_its_name(self) -> None:
        """The entry point of that name gives this class."""
        if not self.registered:
            raise SkipTest("not registered")
        found = plugins.load(self.group, self.plugin.name)
        demand(found is type(self.plugin), f"{self.plugin.name} is registered as {found!r}")

    @clause
    def settings_are_frozen_closed_and_described(self) -> None:
        """Settings cannot be changed or misspelt, each is described, and they go through JSON."""
        kind = type(self.plugin)
        demand(issubclass(kind, BaseModel), f"{kind.__name__} is no pydantic model")
        demand(kind.model_fields, "it has no settings: `kind` of an engine is one")
        first = next(iter(kind.model_fields))
        with refused(ValidationError, f"changing {first}"):
            setattr(self.plugin, first, getattr(self.plugin, first))
        with refused(ValidationError, "an unknown setting"):
            kind(**self.plugin.model_dump(exclude_unset=True), no_such_setting=1)
        bare = [name for name, field in kind.model_fields.items() if not field.description]
        demand(not bare, f"settings without a description: {', '.join(bare)}")
        again = kind.model_validate_json(self.plugin.model_dump_json())
        demand(again == self.plugin, f"JSON gives back {again!r}")
