"""Non-magnetic labels are learnt from again where they lie on the magnetic surface and the family reads moments."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from magflow.campaign.transfer import TransferSpec
from magflow.core.label import LabelKind


@pytest.mark.parametrize("magnetic", [True, False])
@pytest.mark.parametrize("kind", [LabelKind.CONSTRAINED, LabelKind.SPIN_POLARISED])
def test_replay_needs_constrained_labels_and_a_family_that_reads_moments(kind, magnetic):
    engine, family = SimpleNamespace(kind=kind), SimpleNamespace(magnetic=magnetic)
    both = magnetic and kind is LabelKind.CONSTRAINED
    assert TransferSpec(non_magnetic=2, test=1).share(engine, family) == (1.0 if both else 0.0)
    assert TransferSpec(non_magnetic=2, test=1, replay=0.25).share(engine, family) == 0.25
