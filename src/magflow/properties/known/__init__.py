"""Reference values that come with magflow, each with its source; ``workflows/references/`` links to them."""

from __future__ import annotations

from importlib.resources import files


def known_names() -> list[str]:
    """Names of the files, without suffix."""
    return sorted(p.name.removesuffix(".yaml") for p in files(__name__).iterdir() if p.name.endswith(".yaml"))


def known_text(name: str) -> str:
    """The file called `name`."""
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
