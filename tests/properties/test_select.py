"""Promises of the selection, for any pool."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magflow.core.frame import Frame
from magflow.select.fingerprint import find_duplicates
from magflow.select.matching import same_crystal
from magflow.select.pipeline import Offered, select
from magflow.select.quotas import allocate
from magflow.select.reasons import Reason
from magflow.select.settings import DiversitySettings, QuotaSettings, SelectSettings, Tolerance

TOLERANCE = Tolerance()
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([1, 2, 3, 4, 6])
UNIMODULAR = [
    np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[1, 0, 0], [-1, 1, 0], [0, 2, 1]]),
    np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    np.diag([-1, 1, 1]),
]
FAST = settings(max_examples=30, deadline=None)


def random_frame(rng: np.random.Generator, size: int, noncollinear: bool = False) -> Frame:
    """A distorted piece of bcc Fe-Al, `size` atoms."""
    repeats = (-(-size // 2), 1, 1)
    cell = np.diag(repeats) * 2.86
    corners = np.array([(i, 0, 0) for i in range(repeats[0])], float) * 2.86
    sites = np.concatenate([corners, corners + 1.43])[:size]
    strain = np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))
    species = tuple(rng.choice(["Fe", "Al"], size))
    moments = rng.uniform(-2.5, 2.5, (size, 3))
    if not noncollinear:
        moments[:, :2] = 0.0
    return Frame(species, cell @ strain, sites @ strain + rng.normal(0, 0.08, (size, 3)), moments)


def equivalent(frame: Frame, rng: np.random.Generator, noise: float = 0.0) -> Frame:
    """The same crystal: turned or mirrored, shifted, relabelled, time-reversed, in another cell, off by `noise`."""
    n = len(frame)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(n)
    change = UNIMODULAR[rng.integers(len(UNIMODULAR))]
    cell = change @ frame.cell @ turn
    wraps = rng.integers(-1, 2, (n, 3)) @ cell
    jitter = rng.uniform(-1, 1, (n, 3)) * noise / np.sqrt(3)
    positions = (frame.positions @ turn)[order] + rng.normal(size=3) + wraps + jitter
    moments = frame.magmoms[order] * rng.choice([-1, 1])
    if np.any(moments[:, :2]):
        moments = moments @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    else:
        moments = moments + [[0, 0, 1]] * rng.uniform(-1, 1, (n, 1)) * noise
    return Frame(tuple(np.array(frame.species)[order]), cell, positions, moments)


def supercell(frame: Frame, axis: int) -> Frame:
    """Two copies along one axis."""
    cell = frame.cell * np.where(np.arange(3) == axis, 2, 1)[:, None]
    positions = np.concatenate([frame.positions, frame.positions + frame.cell[axis]])
    return Frame(frame.species * 2, cell, positions, np.tile(frame.magmoms, (2, 1)))


def pool(seed: int, n: int = 24, graded: bool = False) -> Offered:
    """A pool whose deviations straddle the trust levels, some of them NaN."""
    rng = np.random.default_rng(seed)
    frames = [random_frame(rng, int(rng.choice([1, 2, 4]))) for _ in range(n)]
    deviations = {"energy": 0.005 * rng.lognormal(0, 1, n), "forces": 0.04 * rng.lognormal(0, 1, n)}
    deviations["energy"][rng.random(n) < 0.1] = np.nan
    return Offered(frames, ["test"] * n, deviations, rng.lognormal(0, 1, n) if graded else None)


def make_settings(**changes: object) -> SelectSettings:
    return SelectSettings(**({"batch": 6, "initial": 6, "random_share": 0.0} | changes))


TARGETS = {"energy": 0.005, "forces": 0.04}


@FAST
@given(SEEDS, SIZES, st.booleans())
def test_an_equivalent_frame_is_a_duplicate(seed, size, noncollinear):
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, size, noncollinear)
    copy = equivalent(frame, rng, noise=0.4e-3)
    assert same_crystal(frame, copy, TOLERANCE)
    assert same_crystal(copy, frame, TOLERANCE)
    assert find_duplicates([copy], [frame]).of_known.tolist() == [0]
    assert find_duplicates([frame, copy]).of_pool.tolist() == [-1, 0]


@FAST
@given(SEEDS, st.sampled_from([1, 2, 3]), st.integers(0, 2))
def test_a_supercell_is_a_duplicate(seed, size, axis):
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, size)
    copy = equivalent(supercell(frame, axis), rng)
    assert find_duplicates([copy], [frame]).of_known.tolist() == [0]
    assert find_duplicates([frame], [copy]).of_known.tolist() == [0]


@FAST
@given(SEEDS, SIZES, st.sampled_from(["move", "moment", "cell", "species", "flip"]))
def test_a_distinct_frame_is_no_duplicate(seed, size, change):
    """Changes of 20 times the tolerance are seen, also where symmetry hides them to first order."""
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, size)
    atom = int(rng.integers(size))
    step = np.zeros((size, 3))
    if change == "move":
        if size == 1:
            return  # moving the only atom is a translation
        step[atom, int(rng.integers(3))] = 0.02
        other = frame.replace(positions=frame.positions + step)
    elif change == "moment":
        step[atom, 2] = 0.02 * np.sign(frame.magmoms[atom, 2])
        other = frame.replace(magmoms=frame.magmoms + step)
    elif change == "cell":
        scale = np.diag([1.01, 1.0, 1.0])
        other = frame.replace(cell=frame.cell @ scale, positions=frame.positions @ scale)
    elif change == "species":
        swapped = list(frame.species)
        swapped[atom] = "Fe" if swapped[atom] == "Al" else "Al"
        other = Frame(tuple(swapped), frame.cell, frame.positions, frame.magmoms)
    else:
        if size == 1:
            return  # the flip of the only moment is time reversal
        sign = np.ones((size, 1))
        sign[atom] = -1
        if np.abs(frame.magmoms[:, 2]).min() < 0.05:
            return  # the flip of a vanishing moment changes nothing
        other = frame.replace(magmoms=frame.magmoms * sign)
    assert find_duplicates([equivalent(other, rng)], [frame]).of_known.tolist() == [-1]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_spin_patterns_on_a_perfect_lattice_are_told_apart_exactly(count):
    """Flips on an ideal 8-atom bcc cell: classes counted by brute force over all lattice symmetries."""
    from itertools import permutations, product

    corners = np.array(list(product((0, 1), (0, 1), (0,))), float) * 2.86
    sites = np.concatenate([corners, corners + 1.43])
    cell = np.diag([2, 2, 1]) * 2.86
    patterns = []
    for flipped in combinations(range(8), count):
        moments = np.full(8, 2.0)
        moments[list(flipped)] = -2.0
        patterns.append(moments)
    operations = [
        np.eye(3)[list(p)] * s
        for p in permutations(range(3))
        for s in product((1, -1), repeat=3)
        if p[2] == 2  # keep the short axis
    ]

    def orbit(moments: np.ndarray) -> set[tuple[float, ...]]:
        out = set()
        for operation in operations:
            for shift in sites:
                moved = ((sites @ operation + shift) / np.diag(cell) + 1e-6) % 1.0
                index = [int(np.abs(moved - 1e-6 - s / np.diag(cell)).sum(axis=1).argmin()) for s in sites]
                out |= {tuple(moments[index]), tuple(-moments[index])}
        return out

    classes, seen = 0, set()
    for moments in patterns:
        if tuple(moments) not in seen:
            classes += 1
            seen |= orbit(moments)
    frames = [Frame(("Fe",) * 8, cell, sites, m) for m in patterns]
    assert int((find_duplicates(frames).of_pool < 0).sum()) == classes


@FAST
@given(SEEDS)
def test_leaders_are_apart_and_followers_follow_a_leader(seed):
    rng = np.random.default_rng(seed)
    base = [random_frame(rng, 2) for _ in range(5)]
    frames = [equivalent(base[int(rng.integers(5))], rng, noise=1e-4) for _ in range(15)]
    found = find_duplicates(frames).of_pool
    leaders = [i for i in range(15) if found[i] < 0]
    assert not any(same_crystal(frames[a], frames[b], TOLERANCE) for a in leaders for b in leaders if a < b)
    for i in range(15):
        assert found[i] < 0 or (found[found[i]] < 0 and same_crystal(frames[i], frames[found[i]], TOLERANCE))


@FAST
@given(SEEDS, st.booleans(), st.booleans(), st.sampled_from(["active", "random"]), st.integers(0, 12))
def test_every_promise_at_once(seed, graded, fill, strategy, budget):
    rng = np.random.default_rng(seed)
    offered = pool(seed, graded=graded)
    known = [equivalent(offered.frames[i], rng) for i in range(0, 24, 5)]
    chosen_settings = make_settings(fill=fill, strategy=strategy)
    found = select(
        offered,
        known=known,
        settings=chosen_settings,
        targets=TARGETS,
        budget=budget,
        seed=seed,
    )

    assert len(found.reasons) == len(offered.frames)
    assert all(isinstance(r, Reason) for r in found.reasons)
    assert len(found.selected) <= min(chosen_settings.batch, budget)
    assert len(set(found.selected.tolist())) == len(found.selected)
    assert sorted(found.selected.tolist()) == [i for i, r in enumerate(found.reasons) if r.selected]
    assert sum(n for row in found.counts.values() for n in row.values()) == len(offered.frames)
    for i in found.selected:
        assert not any(same_crystal(k, offered.frames[i], TOLERANCE) for k in known)
    for a, b in combinations(found.selected, 2):
        assert not same_crystal(offered.frames[a], offered.frames[b], TOLERANCE)
    assert found.exhausted == (budget > 0 and not len(found.selected))
    if strategy == "active":
        for i in found.selected:
            levels = [offered.deviations[q][i] > TARGETS[q] for q in TARGETS]
            certain = not any(levels) and (offered.grades is None or offered.grades[i] <= chosen_settings.grade_save)
            assert np.isfinite(offered.deviations["energy"][i])
            assert found.reasons[i] is (Reason.FILLED if certain else Reason.SELECTED)
            assert not certain or fill


@FAST
@given(SEEDS, st.sampled_from(["active", "random"]), st.booleans())
def test_the_order_offered_does_not_matter(seed, strategy, first):
    offered = pool(seed)
    if first:
        offered = Offered(offered.frames, offered.sources)
    order = np.random.default_rng(seed).permutation(len(offered.frames))
    common = {"settings": make_settings(strategy=strategy), "targets": TARGETS, "seed": 3}
    a, b = select(offered, **common), select(offered.take(order), **common)
    assert [offered.frames[i].frame_id for i in a.selected] == [offered.frames[order[i]].frame_id for i in b.selected]
    assert [a.reasons[i] for i in order] == list(b.reasons)


def test_the_same_seed_repeats_and_another_differs():
    offered = pool(7, n=60)
    common = {"settings": make_settings(strategy="random"), "targets": TARGETS}
    runs = [select(offered, seed=s, **common).selected.tolist() for s in (1, 1, 2, 3)]
    assert runs[0] == runs[1]
    assert runs[1] != runs[2] != runs[3]


@FAST
@given(SEEDS, st.floats(1e-4, 1e-2))
def test_nothing_is_selected_below_explicit_trust_levels(seed, low):
    offered = pool(seed)
    trust = {"energy": {"low": low, "high": 10.0}}
    found = select(offered, settings=make_settings(trust=trust), targets={}, seed=seed)
    assert all(offered.deviations["energy"][i] > low for i in found.selected)
    assert found.trust == {"energy": (low, 10.0)}


@FAST
@given(SEEDS, st.floats(0, 1), st.integers(1, 10))
def test_diversity_and_scores_only_reorder_the_candidates(seed, fraction, shortlist):
    """Whatever the mix, a full batch comes out as long as there are candidates."""
    offered = pool(seed)
    for enabled in (True, False):
        diversity = DiversitySettings(enabled=enabled, fraction=fraction, shortlist=shortlist)
        found = select(offered, settings=make_settings(diversity=diversity), targets=TARGETS)
        unpicked = {Reason.NOT_DIVERSE, Reason.OUTRANKED, Reason.QUOTA_FULL}
        candidates = sum(r in unpicked or r.selected for r in found.reasons)
        assert len(found.selected) == min(6, candidates)


@given(
    st.integers(0, 60),
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 30), max_size=6),
    st.floats(0, 0.5),
)
def test_quotas_sum_to_the_batch_and_never_exceed_what_there_is(total, available, minimum):
    given_ = allocate(total, available, minimum_share=minimum)
    assert sum(given_.values()) == min(total, sum(available.values()))
    assert all(0 <= given_[s] <= available[s] for s in available)
    each = max(1, round(minimum * total)) if minimum else 0
    if each * len(available) <= total:
        assert all(given_[s] >= min(each, available[s]) for s in available)
    assert given_ == allocate(total, dict(reversed(available.items())), minimum_share=minimum)


@FAST
@given(SEEDS, st.floats(0, 0.3))
def test_a_batch_keeps_to_its_quotas(seed, minimum):
    offered = pool(seed)
    found = select(
        offered, settings=make_settings(quotas=QuotaSettings(minimum_share=minimum)), targets=TARGETS, seed=seed
    )
    passed = {Reason.NOT_DIVERSE, Reason.OUTRANKED, Reason.QUOTA_FULL, Reason.SELECTED}
    candidates = Counter(s for s, r in zip(found.strata, found.reasons, strict=True) if r in passed)
    wanted = allocate(6, candidates, minimum_share=minimum)
    got = Counter(found.strata[i] for i in found.selected)
    assert {s: n for s, n in wanted.items() if n} == dict(got)


@FAST
@given(SEEDS, st.sampled_from([0.0, 0.3, 1.0]))
def test_the_random_part_is_one_of_the_domain_whatever_is_certain(seed, share):
    offered = pool(seed)
    found = select(offered, settings=make_settings(random_share=share, batch=10), targets=TARGETS, seed=seed)
    drawn = [i for i in found.selected if found.reasons[i] is Reason.DRAWN]
    assert len(found.selected) <= 10 and len(set(found.selected.tolist())) == len(found.selected)
    of_domain = {Reason.SELECTED, Reason.DRAWN, Reason.BELOW_TRUST, Reason.OUTRANKED, Reason.NOT_DIVERSE}
    there = sum(r in of_domain or r is Reason.QUOTA_FULL for r in found.reasons)
    assert len(drawn) == (min(round(share * 10), there) if len(found.selected) else 0)
    assert found.selected[: len(drawn)].tolist() == drawn


def test_a_random_part_is_unbiased_and_ends_with_the_candidates():
    energy = np.where(np.arange(300) < 30, 0.02, 0.001)
    rng = np.random.default_rng(4)
    offered = Offered([random_frame(rng, 2) for _ in range(300)], [""] * 300, {"energy": energy})
    targets = {"energy": 0.005}
    half = make_settings(random_share=0.5, batch=100, sanity={"min_distance": 0.5})
    found = select(offered, settings=half, targets=targets)
    drawn = [i for i in found.selected if found.reasons[i] is Reason.DRAWN]
    assert len(drawn) == 50 and 1 <= sum(i < 30 for i in drawn) <= 12
    certain = Offered(offered.frames, offered.sources, {"energy": np.full(300, 0.001)})
    assert select(certain, settings=half, targets=targets).exhausted
