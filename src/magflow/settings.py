"""Settings of this installation: which programs to run and where files live.

Values come, in this order, from arguments, the environment (``MAGFLOW_ABINIT_COMMAND=...``) and
``~/.magflow.yaml``. They say where things are on one machine and never change a result; what changes a
result belongs in the campaign file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from magflow.core.credentials import remember
from magflow.errors import InputError

SETTINGS_FILE = Path("~/.magflow.yaml")
"""Where a user keeps settings."""


class MagflowSettings(BaseSettings):
    """Programs and directories of this installation. Build it with :func:`load_settings`."""

    model_config = SettingsConfigDict(env_prefix="MAGFLOW_", extra="forbid", frozen=True, hide_input_in_errors=True)

    abinit_command: str = Field("abinit", min_length=1, description="ABINIT executable: a name on PATH or a path.")
    vasp_command: str = Field("vasp_std", min_length=1, description="VASP executable for collinear calculations.")
    vasp_ncl_command: str = Field(
        "vasp_ncl", min_length=1, description="VASP executable for noncollinear and constrained calculations."
    )
    mpirun_command: str = Field("mpirun", min_length=1, description="MPI launcher, used for more than one core.")
    deepmd_python: str | None = Field(
        None, min_length=1, description="Python whose environment has deepmd-kit; None: the one magflow runs in."
    )
    deepmd_threads: int = Field(1, ge=1, description="Threads of one training or inference process of deepmd-kit.")
    nequip_python: str | None = Field(
        None, min_length=1, description="Python whose environment has nequip; None: the one magflow runs in."
    )
    nequip_threads: int = Field(1, ge=1, description="Threads of one training or inference process of nequip.")
    chgnet_python: str | None = Field(
        None, min_length=1, description="Python whose environment has chgnet; None: the one magflow runs in."
    )
    chgnet_threads: int = Field(1, ge=1, description="Threads of one training or inference process of chgnet.")
    mmtp_threads: int = Field(
        1, ge=1, description="Threads of molecular dynamics on mMTPs in one process; they change no bit of a result."
    )
    nequip_compiled: bool = Field(True, description="Use models of nequip compiled where `magflow compile` made them.")
    dataset_dirs: tuple[Path, ...] = Field(
        (Path("/usr/share/gpaw-setups"), Path("~/.magflow/datasets")),
        description="Folders searched, in this order, for PAW datasets.",
    )
    cache_dir: Path = Field(Path("~/.cache/magflow"), description="Folder for files that can be made again.")
    mongo_uri: SecretStr | None = Field(
        None,
        description="MongoDB server of campaigns that are kept there, with user and password: "
        "mongodb://USER:PASSWORD@HOST:PORT/DATABASE. Only its owner may read a settings file that holds it.",
    )
    scratch_dir: Path | None = Field(
        None, description="Folder on a fast disk for running calculations; None runs them in place."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the settings file."""
        return init_settings, env_settings, _SettingsFile(settings_cls)

    def expanded_dataset_dirs(self) -> tuple[Path, ...]:
        """`dataset_dirs` with ``~`` resolved."""
        return tuple(path.expanduser() for path in self.dataset_dirs)


class _SettingsFile(PydanticBaseSettingsSource):
    """``~/.magflow.yaml``, read with the safe loader."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = SETTINGS_FILE.expanduser()
        if not path.is_file():
            return {}
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the settings file cannot be read", where=str(path), seen=error) from error
        except (ValueError, RecursionError) as error:
            raise InputError("the settings file is no YAML", where=str(path), seen=type(error).__name__) from None
        except YAMLError as error:  # its text quotes the file, and with it a password
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            seen = getattr(error, "problem", None)
            raise InputError("the settings file is no YAML", where=where, seen=seen) from None
        remember(content)
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise InputError(
                "the settings file is not a mapping",
                where=str(path),
                seen=type(content).__name__,
                expected="key: value",
            )
        if "mongo_uri" in content and path.stat().st_mode & 0o077:
            raise InputError(
                "the settings file holds a password and others may read it",
                where=str(path),
                seen=f"mode {path.stat().st_mode & 0o777:04o}",
                expected="mode 0600",
                hint=f"chmod 600 {path}",
            )
        return content


def load_settings(**overrides: Any) -> MagflowSettings:
    """The settings that hold now.

    Raises
    ------
    InputError
        On an unknown key, a value of the wrong type or an unreadable settings file.
    """
    remember(os.environ.get("MAGFLOW_MONGO_URI"))
    try:
        return MagflowSettings(**overrides)
    except SettingsError as error:
        raise InputError(
            str(error), where="environment variables MAGFLOW_*", seen=error.__cause__, expected="JSON for lists"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            first["msg"],
            where=f"settings {'.'.join(str(part) for part in first['loc'])}",
            seen=first.get("input"),
            expected="one of " + ", ".join(MagflowSettings.model_fields),
            hint=f"look at {SETTINGS_FILE} and at the environment variables MAGFLOW_*",
        ) from error
