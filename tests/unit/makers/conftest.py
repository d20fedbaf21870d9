"""What the tests of Makers share."""

from __future__ import annotations

import pytest
from maker_documents import CAMPAIGN, FAMILY, batch_of, labelled

from magflow.makers.documents import ModelDoc
from magflow.makers.train import TrainMaker


@pytest.fixture(scope="session")
def models() -> list[ModelDoc]:
    """Two members, fitted for a moment."""
    maker = TrainMaker(family=FAMILY, campaign=CAMPAIGN, members=2)
    return [maker.make.original(maker, [batch_of(labelled(6))], None, k, 0) for k in range(2)]
