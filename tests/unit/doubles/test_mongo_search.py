"""The quick search of the wire double finds what mongomock-ng's own search finds."""

from __future__ import annotations

import mongomock_ng
from hypothesis import example, given
from hypothesis import strategies as st
from mongomock_ng import DuplicateKeyError
from mongomock_ng.aggregate import process_pipeline
from mongomock_ng.filtering import filter_applies

from doubles.mongo_search import _aggregate, _compare_with_all, _ensure_uniques, sift

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.5, 1.0]), st.sampled_from("abc"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xy"), inner, max_size=2)),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(st.sampled_from("xy"), VALUES, max_size=2)
FIELDS = st.sampled_from(["x", "y", "x.y", "x.x.y", "x.0"])
WANTED = st.one_of(SCALARS, st.builds(lambda values: {"$in": values}, st.lists(SCALARS, max_size=3)))


def test_a_pipeline_gives_what_mongomocks_own_gives():
    collection = mongomock_ng.MongoClient().db.things
    collection.insert_many({"_id": i, "kind": "ab"[i % 2], "n": [i, -i]} for i in range(6))
    match, rest = (
        {"$match": {"kind": "a", "n": {"$gt": 0}}},
        [{"$unwind": "$n"}, {"$group": {"_id": 0, "sum": {"$sum": "$n"}}}],
    )
    for pipeline in ([match, *rest], [*rest], [], [{"$limit": 2}, match]):
        own = process_pipeline(list(collection.find()), collection.database, pipeline, None)
        assert list(_aggregate(collection, pipeline)) == list(own)


@given(st.lists(DOCUMENTS, max_size=4), DOCUMENTS, st.sampled_from(["x", "x.y"]), st.booleans())
def test_a_double_of_a_unique_key_is_found(documents, new, field, sparse):
    collection = mongomock_ng.MongoClient().db.things
    collection.insert_many({"_id": i, **d} for i, d in enumerate(documents))
    collection._store.create_index("u", {"key": [(field, 1)], "unique": True, "sparse": sparse})
    found = []
    for check in (_compare_with_all, _ensure_uniques):
        try:
            check(collection, {"_id": "new", **new})
            found.append(False)
        except DuplicateKeyError:
            found.append(True)
    assert found[0] == found[1]


@example({"x": [{"y": 1}]}, "x.y", 1)
@example({"x": []}, "x", {"$in": [None]})
@example({}, "x", None)
@given(DOCUMENTS, FIELDS, WANTED)
def test_no_document_that_matches_is_passed_over(document, field, wanted):
    if filter_applies({field: wanted}, document):
        assert sift([document], field, wanted) == [document]


def test_plain_values_are_told_apart():
    yes, no = [{"a": {"b": 3}}, {"a": {"b": ["y", "x"]}}], [{"a": {"b": "z"}}, {"a": {}}, {}]
    assert sift([*yes, *no], "a.b", {"$in": ["x", 3]}) == yes
    yes, no = [{"a": 3}, {"a": [1, 3]}, {"a": {"b": 3}}], [{"a": 4}, {"a": [4]}, {"a": "3"}, {}]
    assert sift([*yes, *no], "a", 3) == yes
