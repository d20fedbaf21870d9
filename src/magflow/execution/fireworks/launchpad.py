"""The connection to a LaunchPad of FireWorks, and the settings of FireWorks that magflow relies on."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo.errors import ConfigurationError, DuplicateKeyError, InvalidURI, OperationFailure, PyMongoError

from magflow.core.credentials import remember
from magflow.core.masking import mask
from magflow.core.versions import FORMAT, Format, read_stamped
from magflow.errors import InputError, MissingToolError, StoreError
from magflow.settings import load_settings

if TYPE_CHECKING:
    from fireworks import LaunchPad

SETTINGS: Mapping[str, Any] = {
    "PING_TIME_SECS": 60,
    "RUN_EXPIRATION_SECS": 300,
    "WFLOCK_EXPIRATION_SECS": 120,
    "WFLOCK_EXPIRATION_KILL": True,
}
"""FireWorks notices a dead worker after four hours unless told otherwise, and a lock that it held never."""

ABOUT = "magflow"
"""Key in a Firework's spec under which magflow keeps what it knows of the job."""

SPEC: Format[dict[str, Any]] = Format("job on a LaunchPad")
"""Of what is there."""

TASK = "{{magflow.execution.fireworks.CampaignTask}}"
"""Name of a job's task on a LaunchPad. It stays when the module of the class is moved or renamed."""

DAEMONS = "magflow_daemons"
"""Collection in which the daemons of clusters note that they are at work."""

NAMES = ("my_launchpad.yaml", "launchpad.yaml")
"""Names a LaunchPad's file is looked for under in the current directory."""

NO_ANSWER = "the LaunchPad does not answer"
"""Message of the error that may pass: the server is away."""

_ANSWER_MS = 10_000  # the server is given this long to answer at all
_LOCKS = "magflow_locks"
LOCK_EXPIRES = 120.0
"""Seconds: a submission takes far less, so an older lock was left by one that was killed."""

_INDEXES = (f"spec.{ABOUT}.uuid", f"spec.{ABOUT}.campaign")


def enforce_settings() -> None:
    """Put :data:`SETTINGS` in force in this process, whatever FireWorks' own configuration file says.

    FireWorks reads that file when it is imported, and binds some of the values as default arguments; a worker that
    was started without the file would go on with FireWorks' defaults.
    """
    from fireworks import fw_config
    from fireworks.core import launchpad, rocket

    for name, value in SETTINGS.items():
        for module in (fw_config, launchpad, rocket):
            if hasattr(module, name):
                setattr(module, name, value)
    expires, kill = SETTINGS["WFLOCK_EXPIRATION_SECS"], SETTINGS["WFLOCK_EXPIRATION_KILL"]
    launchpad.WFLock.__init__.__defaults__ = (expires, kill)


def launchpad_file(given: Path | None = None) -> Path:
    """The LaunchPad's file: the one given, the one FireWorks is configured with, or one in the current directory.

    Raises
    ------
    InputError
        If there is none.
    MissingToolError
        If FireWorks is not installed.
    """
    _require_fireworks()
    from fireworks.fw_config import LAUNCHPAD_LOC

    candidates = [given] if given else [*([Path(LAUNCHPAD_LOC)] if LAUNCHPAD_LOC else []), *map(Path, NAMES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InputError(
            "there is no file that describes the LaunchPad",
            where=str(given or Path.cwd()),
            seen=", ".join(map(str, candidates)),
            expected="a my_launchpad.yaml of FireWorks",
            hint="give it with --launchpad; `lpad init` or `magflow cluster init` writes one",
        )
    return found.resolve()


def connect(file: str | Path) -> LaunchPad:
    """Connect to the LaunchPad that `file` describes, and make sure that it answers.

    A database that has never been a LaunchPad is made one.

    Raises
    ------
    InputError
        If the file is not one of a LaunchPad.
    StoreError
        If the server does not answer, or refuses the credentials.
    MissingToolError
        If FireWorks is not installed.
    """
    _require_fireworks()
    from fireworks import LaunchPad

    settings = _read(Path(file))
    options = dict(settings.get("mongoclient_kwargs") or {})
    if "serverselectiontimeoutms=" not in str(settings["host"]).lower():  # an option overrules the URI
        options = {"serverSelectionTimeoutMS": _ANSWER_MS} | options
    hint = "is the server running, and does its firewall let this machine in? is the password right?"
    try:
        launchpad = LaunchPad.from_dict({**settings, "strm_lvl": "WARNING", "mongoclient_kwargs": options})
        launchpad.fw_id_assigner.find_one({})
    except (ConfigurationError, InvalidURI, TypeError, KeyError, ValueError) as error:
        hint = "it takes what FireWorks' my_launchpad.yaml takes: host, port, name, username, password, uri_mode, ..."
        raise InputError("this is no LaunchPad", where=str(file), seen=_text(error), hint=hint) from None
    except OperationFailure as error:
        raise StoreError("the LaunchPad refuses us", where=str(file), seen=_text(error), hint=hint) from None
    except PyMongoError as error:
        raise StoreError(NO_ANSWER, where=str(file), seen=_text(error), hint=hint) from None
    enforce_settings()
    return launchpad


def initialise(launchpad: LaunchPad) -> None:
    """Make the database a LaunchPad if it is none, and create the indexes that magflow's queries use."""
    with locked(launchpad, "initialise"):
        if launchpad.fw_id_assigner.find_one({}) is None:
            launchpad.reset("", require_password=False, max_reset_wo_password=0)
        for field in _INDEXES:
            launchpad.fireworks.create_index(field)


@contextmanager
def locked(launchpad: LaunchPad, key: str) -> Iterator[None]:
    """Be the only process that submits `key` to this LaunchPad."""
    locks = launchpad.db[_LOCKS]
    while True:
        try:
            locks.insert_one({"_id": key, "since": time.time()})
            break
        except DuplicateKeyError:
            locks.delete_one({"_id": key, "since": {"$lt": time.time() - LOCK_EXPIRES}})
            time.sleep(0.1)
    try:
        yield
    finally:
        locks.delete_one({"_id": key})


def about_job(firework: Mapping[str, Any]) -> dict[str, Any]:
    """What magflow keeps in the document of a Firework, in the present format.

    Raises
    ------
    NewerFormatError
        If a newer magflow submitted the job, in a format this one does not know.
    """
    about = firework["spec"][ABOUT]
    return read_stamped(SPEC, about, f"job {about.get('uuid')}")


def require_known_format(launchpad: LaunchPad, campaign: str) -> None:
    """Refuse a campaign of which a newer magflow has submitted jobs in a format this one does not know.

    Raises
    ------
    NewerFormatError
        If there is such a job.
    """
    newer = {f"spec.{ABOUT}.campaign": campaign, f"spec.{ABOUT}.{FORMAT}": {"$gt": SPEC.number}}
    found = launchpad.fireworks.find_one(newer, {f"spec.{ABOUT}": 1})
    if found is not None:
        about_job(found)


def held_and_orphans(launchpad: LaunchPad, query: Mapping[str, Any]) -> tuple[set[int], set[int]]:
    """Ids of the Fireworks that `query` finds: those that a workflow holds, and those that none does.

    FireWorks inserts Fireworks first and their workflow afterwards. One whose submitter was killed in between is an
    orphan: it would stop every worker that claims it.
    """
    found = {d["fw_id"] for d in launchpad.fireworks.find(dict(query), {"fw_id": 1})}
    workflows = launchpad.workflows.find({"nodes": {"$in": sorted(found)}}, {"nodes": 1}) if found else []
    held = found.intersection(*[set().union(*(d["nodes"] for d in workflows))])
    return held, found - held


def remove_orphans(launchpad: LaunchPad, query: Mapping[str, Any], age: float = LOCK_EXPIRES) -> int:
    """Remove the orphans among the Fireworks that `query` finds, if older than `age` seconds; returns their number."""
    before = datetime.now(UTC) - timedelta(seconds=age)
    _, orphans = held_and_orphans(launchpad, {**query, "created_on": {"$lte": before.isoformat()}})
    if orphans:
        launchpad.fireworks.delete_many({"fw_id": {"$in": sorted(orphans)}})
    return len(orphans)


def described(launchpad: LaunchPad) -> str:
    """Where a LaunchPad is, without credentials."""
    if launchpad.uri_mode:
        return f"{launchpad.name} on {mask(str(launchpad.host))}"
    return f"{launchpad.name} on {launchpad.host}:{launchpad.port}"


def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the LaunchPad's file cannot be read", where=str(file), seen=str(error)) from error
    except YAMLError:  # its text would quote the file, and with it the password
        raise InputError("the LaunchPad's file is no YAML", where=str(file)) from None
    if not isinstance(content, dict) or "host" not in content:
        expected = "host, port, name, username, password, ..."
        raise InputError("this file does not describe a LaunchPad", where=str(file), expected=expected)
    read = content | {"host": _expanded(content["host"], file)}
    remember(read)
    return read


def _expanded(host: Any, file: Path) -> Any:
    """The value of the environment variable that stands for the host (``${MAGFLOW_MONGO_URI}``), or the host itself."""
    named = re.fullmatch(r"\$\{(\w+)\}", str(host))
    if named is None:
        return host
    name = named.group(1)
    value = os.environ.get(name)
    if value is None and name == "MAGFLOW_MONGO_URI" and (secret := load_settings().mongo_uri) is not None:
        value = secret.get_secret_value()
    if not value:
        raise InputError(
            "the address of the database is in a variable that is not set",
            where=str(file),
            seen=f"host: ${{{name}}}",
            expected=f"the environment variable {name}, or mongo_uri in ~/.magflow.yaml for MAGFLOW_MONGO_URI",
            hint=f"export {name}=mongodb://USER:PASSWORD@HOST/",
        )
    return value


def _text(error: Exception) -> str:
    return mask(f"{type(error).__name__}: {error}")


def _require_fireworks() -> None:
    from importlib.util import find_spec

    if find_spec("fireworks") is None:
        raise MissingToolError("FireWorks is not installed", hint="it comes with magflow[cluster]")
