"""Campaign files to start from, commented line by line; ``workflows/`` links to them."""

from __future__ import annotations

from importlib.resources import files


def template_names() -> list[str]:
    """Names of the templates, without suffix."""
    return sorted(p.name.removesuffix(".yaml") for p in files(__name__).iterdir() if p.name.endswith(".yaml"))


def template_text(name: str) -> str:
    """The campaign file called `name`."""
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
