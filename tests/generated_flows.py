"""Flows drawn at random, as `toy_jobs.build` takes them."""

from __future__ import annotations

from hypothesis import strategies as st

KINDS = ["value", "value", "fail", "stop_children", "replace", "replace_job", "replace_list", "replace_silent"]
KINDS += ["replace_stop", "detour", "addition"]


@st.composite
def spec_lists(draw, prefix="n", depth=2):
    specs = []
    for i in range(draw(st.integers(1, 4 if depth == 2 else 3))):
        kind = draw(st.sampled_from(KINDS if depth else KINDS[:4]))
        name = f"{prefix}{i}"
        has_children = depth and kind not in ("value", "fail", "stop_children")
        specs.append(
            {
                "id": name,
                "kind": kind,
                "tolerant": draw(st.booleans()),
                "parents": draw(st.lists(st.integers(0, i - 1), max_size=2, unique=True)) if i else [],
                "children": draw(spec_lists(name + ".", depth - 1)) if has_children else [],
            }
        )
    return specs


def outputs(store):
    return {(d["uuid"], d["index"]): d["output"] for d in store.query({}) if not d["name"].startswith("store_inputs")}


def spec(name, kind="value", parents=(), children=()):
    return {"id": name, "kind": kind, "tolerant": False, "parents": list(parents), "children": list(children)}
