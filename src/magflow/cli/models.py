"""Opening what a user names as a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magflow.potentials.ensemble import PotentialEnsemble


def open_ensemble(path: Path) -> PotentialEnsemble:
    """The ensemble saved in `path`, or the newest one of the campaign in `path`."""
    from magflow.errors import InputError
    from magflow.potentials.ensemble import MANIFEST, PotentialEnsemble

    if (path / MANIFEST).is_file():
        return PotentialEnsemble.load(path)
    from magflow.campaign.directory import IDENTITY, CampaignDirectory
    from magflow.stores.queries import latest_ensemble

    if not (path / IDENTITY).is_file():
        raise InputError(
            "neither an ensemble nor a campaign",
            where=str(path),
            expected=f"a directory that holds {MANIFEST} or {IDENTITY}",
            hint="`magflow export DIR --models -o MODELS` writes an ensemble",
        )
    campaign = CampaignDirectory(path)
    return latest_ensemble(campaign.store, campaign.id)
