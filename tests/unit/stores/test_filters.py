"""Filters mean what they mean in MongoDB: rules of its manual, and an independent implementation beside ours."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mongomock_ng.filtering import filter_applies, resolve_sort_key

from magflow.errors import InputError
from magflow.stores.filters import matcher, sort_key, values_at

# What mongomock-ng takes otherwise than MongoDB is left out here and stands in the table below: booleans beside
# numbers, paths that end in a scalar or an empty list, two operators on one field of several documents in a list, $size
# of what is no list, order of lists.

NAN = float("nan")

numbers = st.one_of(st.integers(-2, 2), st.sampled_from([0.5, -1.0, 2.0]))
texts = st.sampled_from(["", "a", "b", "ab", "é", "3"])
scalars = st.one_of(numbers, texts, st.none())
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.just(datetime(2026, 1, 1)))
inner = st.fixed_dictionaries({}, optional={"c": values, "d": scalars})
documents = st.fixed_dictionaries(
    {}, optional={"a": values, "b": st.one_of(inner, st.lists(inner, min_size=1, max_size=3)), "s": scalars}
)
ranges = st.sampled_from(["$gt", "$gte", "$lt", "$lte"])
conditions = st.one_of(
    scalars,
    st.builds(lambda o, v: {o: v}, st.sampled_from(["$eq", "$ne"]), scalars),
    st.builds(lambda o, v: {o: v}, st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3)),
    st.builds(lambda o, v: {o: v}, ranges, st.one_of(numbers, texts, st.just(datetime(2026, 1, 1)))),
    st.builds(lambda v: {"$exists": v}, st.booleans()),
    st.builds(lambda o, v: {"$not": {o: v}}, ranges, st.one_of(numbers, texts)),
    st.builds(
        lambda v, o: {"$regex": v, "$options": o}, st.sampled_from(["A", "^$", "b$"]), st.sampled_from(["", "i"])
    ),
)
simple = st.dictionaries(st.sampled_from(["a", "b.c", "b.d", "s", "none"]), conditions, max_size=2)
several = st.lists(simple, min_size=1, max_size=3)
filters = st.one_of(
    simple,
    st.builds(lambda op, x, y: {op: x, **y}, st.sampled_from(["$and", "$or", "$nor"]), several, simple),
)


@given(st.lists(documents, max_size=4), filters)
def test_an_independent_implementation_finds_the_same(docs, criteria):
    matches = matcher(criteria)
    for doc in docs:
        assert matches(doc) == bool(filter_applies(criteria, doc)), (doc, criteria)


@given(st.lists(st.fixed_dictionaries({}, optional={"b": inner, "s": scalars}), max_size=5), st.sampled_from([1, -1]))
def test_an_independent_implementation_sorts_alike(docs, direction):
    for path in ("s", "b.d"):
        mine, theirs = list(docs), list(docs)
        mine.sort(key=sort_key(path, direction), reverse=direction == -1)
        theirs.sort(key=lambda d, p=path: resolve_sort_key(p, d)[1], reverse=direction == -1)
        assert mine == theirs


@pytest.mark.parametrize(
    ("criteria", "found", "not_found"),
    [
        ({"a": 1}, [{"a": 1.0}, {"a": [0, 1]}], [{"a": True}, {"a": "1"}, {"a": [[1]]}, {}]),
        ({"a": True}, [{"a": True}], [{"a": 1}]),
        ({"a": None}, [{}, {"a": None}, {"a": [1, None]}], [{"a": 0}, {"a": ""}, {"a": []}]),
        ({"a.b": None}, [{}, {"a": 5}, {"a": {}}, {"a": [{"b": 1}, {}]}], [{"a": []}, {"a": [1, 2]}, {"a": {"b": 0}}]),
        (
            {"a.b": {"$exists": False}},
            [{"a": 5}, {"a": [1]}, {"a": []}, {}],
            [{"a": {"b": None}}, {"a": [{}, {"b": 1}]}],
        ),
        ({"a.b": {"$not": {"$gt": 1}}}, [{"a": 5}, {"a": {"b": "x"}}, {"a": []}, {}], [{"a": {"b": 2}}]),
        ({"a.b": {"$ne": 1}}, [{"a": 5}, {"a": [{"b": 2}]}], [{"a": [{"b": 2}, {"b": 1}]}]),
        ({"a.b": {"$gt": 0, "$lt": 3}}, [{"a": [{"b": -1}, {"b": 5}]}, {"a": {"b": 1}}], [{"a": {"b": 5}}]),
        (
            {"a": {"$gt": 1}},
            [{"a": 2}, {"a": [0, 2]}],
            [{"a": "text"}, {"a": True}, {"a": None}, {"a": NAN}, {}],
        ),
        ({"a": {"$lte": True}}, [{"a": False}, {"a": True}], [{"a": 0}, {"a": 1}]),
        ({"a": {"$gte": NAN}}, [{"a": NAN}], [{"a": 1}]),
        ({"a": NAN}, [{"a": NAN}], [{"a": 0.0}]),
        ({"a": {"x": 1, "y": 2}}, [{"a": {"x": 1, "y": 2}}], [{"a": {"x": 1}}, {"a": {"y": 2, "x": 1}}]),
        ({"a": [1, 2]}, [{"a": [1, 2]}, {"a": [[1, 2]]}], [{"a": [2, 1]}, {"a": 1}]),
        ({"a.0": 1}, [{"a": [1, 2]}, {"a": {"0": 1}}, {"a": [{"0": 1}]}], [{"a": [2, 1]}]),
        ({"a.1.b": 1}, [{"a": [0, {"b": 1}]}], [{"a": [{"b": 1}]}]),
        ({"a": {"$size": 0}}, [{"a": []}], [{}, {"a": {}}, {"a": ""}]),
        ({"a": {"$size": 2}}, [{"a": [1, 2]}], [{"a": "xy"}, {"a": {"x": 1, "y": 1}}, {"a": [[1, 2]]}]),
        ({"a": {"$in": [1, None]}}, [{}, {"a": [1]}], [{"a": 2}]),
        ({"a": {"$nin": []}}, [{}, {"a": 1}], []),
        ({"a": re.compile("^x")}, [{"a": "xy"}, {"a": ["y", "x"]}], [{"a": "yx"}, {"a": 3}]),
        ({"a": {"$regex": "X", "$options": "i"}}, [{"a": "x"}], [{"a": "y"}]),
        ({}, [{}, {"a": 1}], []),
    ],
)
def test_rules_of_the_manual(criteria, found, not_found):
    matches = matcher(criteria)
    assert all(matches(doc) for doc in found)
    assert not any(matches(doc) for doc in not_found)


def test_order_of_types_and_lists():
    ordered = [[], None, NAN, -1, 2.5, "a", "b", {"x": 1}, b"", b"ab", False, True, datetime(2026, 1, 1)]
    docs = [{"a": value} for value in ordered]
    assert sorted(docs[::-1], key=sort_key("a", 1)) == docs
    lists = [{"a": [3, 1]}, {"a": 2}, {"a": [0, 9]}]
    assert sorted(lists, key=sort_key("a", 1)) == [lists[2], lists[0], lists[1]]
    assert sorted(lists, key=sort_key("a", -1), reverse=True) == [lists[2], lists[0], lists[1]]


def test_values_at_a_path():
    doc = {"a": [{"b": 1}, {"b": [2, 3]}, {"c": 4}, 5], "d": {"e": None}}
    assert list(values_at(doc, "a.b")) == [1, 2, 3]
    assert list(values_at(doc, "d.e")) == [None]
    assert list(values_at(doc, "d.x")) == []


@pytest.mark.parametrize(
    ("criteria", "word"),
    [
        ({"$where": "this.a == 1"}, r"\$where"),
        ({"$expr": {}}, r"\$expr"),
        ({"a": {"$elemMatch": {"b": 1}}}, r"\$elemMatch"),
        ({"a": {"$type": "int"}}, r"\$type"),
        ({"a": {"$gt": 1, "$near": 2}}, r"\$near"),
        ({"$or": [{"a": {"$not": {"$all": [1]}}}]}, r"\$all"),
        ({"$and": []}, r"\$and"),
        ({"$or": {"a": 1}}, r"\$or"),
        ({"a": {"$in": 3}}, r"\$in"),
        ({"a": {"$gt": None}}, r"\$gt"),
        ({"a": {"$lt": [1]}}, r"\$lt"),
        ({"a": {"$size": "2"}}, r"\$size"),
        ({"a": {"$size": True}}, r"\$size"),
        ({"a": {"$not": 3}}, r"\$not"),
        ({"a": {"$not": {}}}, r"\$not"),
        ({"a": {"$regex": "("}}, r"\$regex"),
        ({"a": {"$regex": "x", "$options": "q"}}, r"\$regex"),
        ({"a": {"$options": "i"}}, r"\$options"),
        ({"a": {"b": 1, "$gt": 1}}, "b"),
        ({"a": {1, 2}}, "set"),
    ],
)
def test_what_is_not_supported_is_refused_by_name_before_anything_is_read(criteria, word):
    with pytest.raises(InputError, match=word) as caught:
        matcher(criteria)
    assert caught.value.where == "filter"
