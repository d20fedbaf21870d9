"""Projects of jobflow-remote: found by name, their databases reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from magflow.core.masking import mask
from magflow.errors import InputError, MissingToolError, StoreError

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project
    from jobflow_remote.jobs.jobcontroller import JobController


def project(name: str) -> Project:
    """The project `name`; empty: the one that jobflow-remote is set to.

    Raises
    ------
    MissingToolError
        If jobflow-remote is not installed.
    InputError
        If there is no such project.
    """
    from importlib.util import find_spec

    if find_spec("jobflow_remote") is None:
        raise MissingToolError("jobflow-remote is not installed", hint="it comes with magflow[remote]")
    from jobflow_remote.config.manager import ConfigError, ConfigManager

    try:
        return ConfigManager().get_project(name or None)
    except ConfigError as error:
        hint = "`jf project list` shows what there is; JFREMOTE_PROJECTS_FOLDER says where it is looked for"
        raise InputError(
            "this project cannot be used", where=name or "jobflow-remote", seen=error, hint=hint
        ) from error


def connect(name: str) -> JobController:
    """The database of a project.

    Raises
    ------
    MissingToolError
        If jobflow-remote is not installed.
    InputError
        If there is no such project.
    StoreError
        If its database does not answer, or was never set up.
    """
    found = project(name)
    try:
        controller = found.get_job_controller()
        ready = controller.auxiliary.find_one({"next_id": {"$exists": True}})
    except PyMongoError as error:
        raise StoreError("the project's database does not answer", where=name, seen=mask(str(error))) from None
    if ready is None:
        raise StoreError("the project's database is not set up", where=name, hint="run `jf admin reset` once")
    return controller
