"""magflow: active learning of magnetic interatomic potentials on constrained DFT.

>>> import magflow
>>> campaign = magflow.Campaign.from_file("demo/model_hamiltonian.yaml", "demo/run")  # doctest: +SKIP
>>> campaign.run().reason                                                            # doctest: +SKIP
'target-met'
>>> magflow.relax(campaign.models, "start.extxyz").converged                         # doctest: +SKIP
True

The names in ``magflow.__all__`` are the public face, and all that is promised of it: they keep their meaning within a
major version, as do ``magflow.testing``, the entry points, the formats of files and the command line. Everything else
is private, whatever its name. Importing magflow imports none of it; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from magflow.core import moved_imports

if TYPE_CHECKING:
    from magflow.api.campaign import Campaign
    from magflow.api.finetuning import displace, finetune, force_constants, read_force_constants
    from magflow.api.opening import load, read_labels, to_frame
    from magflow.api.simulation import md, relax
    from magflow.api.training import compare, train, transfer
    from magflow.api.validation import validate
    from magflow.core.dataset import Dataset
    from magflow.core.frame import Frame
    from magflow.core.label import Label, LabeledFrame, LevelOfTheory
    from magflow.core.release import __version__
    from magflow.errors import MagflowError
    from magflow.potentials.ensemble import PotentialEnsemble

__all__ = [
    "Campaign",
    "Dataset",
    "Frame",
    "Label",
    "LabeledFrame",
    "LevelOfTheory",
    "MagflowError",
    "PotentialEnsemble",
    "__version__",
    "compare",
    "displace",
    "finetune",
    "force_constants",
    "load",
    "md",
    "read_force_constants",
    "read_labels",
    "relax",
    "to_frame",
    "train",
    "transfer",
    "validate",
]

_HOMES = {
    "magflow.api.campaign": ("Campaign",),
    "magflow.api.finetuning": ("displace", "finetune", "force_constants", "read_force_constants"),
    "magflow.api.opening": ("load", "read_labels", "to_frame"),
    "magflow.api.simulation": ("md", "relax"),
    "magflow.api.training": ("compare", "train", "transfer"),
    "magflow.api.validation": ("validate",),
    "magflow.core.dataset": ("Dataset",),
    "magflow.core.frame": ("Frame",),
    "magflow.core.label": ("Label", "LabeledFrame", "LevelOfTheory"),
    "magflow.core.release": ("__version__",),
    "magflow.errors": ("MagflowError",),
    "magflow.potentials.ensemble": ("PotentialEnsemble",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

moved_imports.install()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'magflow' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
