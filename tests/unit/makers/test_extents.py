"""Volumes and moments of the frames offered, read without making frames: the same as those of the frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from magflow.makers.documents import CandidatesDoc
from magflow.makers.offered import extents
from magflow.makers.packing import pack_candidates
from strategies import frames


@given(st.lists(frames(), max_size=5))
def test_extents_are_those_of_the_frames(offered):
    document = CandidatesDoc(
        campaign="0" * 32,
        iteration=0,
        offered=len(offered),
        sources={},
        health={},
        wall_seconds=0.0,
        cpu_seconds=0.0,
        arrays=pack_candidates(offered, ["anywhere"] * len(offered)),
    )
    found = extents(document)
    assert list(found["volume"]) == [frame.volume / len(frame) for frame in offered]
    largest = [0.0 if f.magmoms is None else max((f.magmoms**2).sum(axis=1)) ** 0.5 for f in offered]
    assert abs(found["moment_max"] - largest).max(initial=0.0) < 1e-12
