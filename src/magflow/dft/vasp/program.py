"""The VASP program: which one, and how to name it."""

from __future__ import annotations

from magflow.dft.vasp.settings import VaspSettings
from magflow.settings import SETTINGS_FILE, MagflowSettings

COMMAND_HINT = (
    f"VASP is licensed software: name your executables as vasp_command and vasp_ncl_command in {SETTINGS_FILE}"
)


def executable(settings: VaspSettings, installation: MagflowSettings, *, vectors: bool) -> str:
    """The program with its options; `vectors`: moments may point anywhere, which takes vasp_ncl."""
    if settings.command is not None:
        return settings.command
    return installation.vasp_ncl_command if vectors else installation.vasp_command
