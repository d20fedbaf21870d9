from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from magflow.campaign.source import MAX_BYTES, CampaignFileError, dotted, parse_source, read_source
from magflow.errors import InputError


def test_values_and_their_lines():
    source = parse_source(
        "a: 1\nb:\n  c: [1.5, true, null, text]\n  d: 1e-8\n  e: '7'\n  f: no\n  g: 2026-01-01\n", "f"
    )
    assert source.data == {
        "a": 1,
        "b": {"c": [1.5, True, None, "text"], "d": 1e-8, "e": "7", "f": "no", "g": "2026-01-01"},
    }
    assert source.line(("b", "d")) == 4
    assert source.line(("b", "c", 2)) == 3
    assert source.line(("b", "x", "y")) == 2
    assert source.line(("x",)) == 1


def test_dotted():
    assert dotted(("system", "prototypes", 0, "name")) == "system.prototypes[0].name"


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "f:2: seen the alias *a0"),
        ("a: &x 1\nb: *x", "f:2: seen the alias *x"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "f:2: seen the tag"),
        ("b: !custom {a: 1}", "f:1: seen the tag !custom"),
        ("b: !!str 1", "f:1: seen the tag"),
        ("a: " + "[" * 5000, "f:1: seen values nested deeper than"),
        ("a: " + "{b: " * 5000, "f:1: seen values nested deeper than"),
        ("a: 1\nb: 2\na: 3", "f:3 a: seen the key again (first on line 1)"),
        ("s:\n  a: 1\n  a: 3", "f:3 s.a: seen the key again"),
        ("a: [1, .nan]", "f:1 a[1]: seen .nan; expected a finite number"),
        ("a: -.inf", "f:1 a: seen -.inf"),
        ("a: 1e999", "f:1 a: seen 1e999"),
        ("? [1, 2]\n: 3", "f:1: seen a list as a key"),
        ("- a\n- b", "f:1: seen a list; expected a mapping"),
        ("", "f:1: seen no keys"),
        ("text", "f:1: seen a single value"),
        ("a: 1\n---\nb: 2", "f:2: seen"),
        ("a: [1", "f:1: seen"),
        ("a:\n\t- b", "f:2: seen"),
        ("a: 'open", "f:1: seen"),
        ("a: b: c", "f:1: seen"),
        ("a: \x00", "f:1: seen"),
        ("%YAML 9.9\n---\na: 1", "f:"),
    ],
)
def test_what_is_refused(text, message):
    begin = time.perf_counter()
    with pytest.raises(CampaignFileError) as caught:
        parse_source(text, "f")
    assert message in str(caught.value)
    assert time.perf_counter() - begin < 5.0


def test_all_problems_come_at_once():
    with pytest.raises(CampaignFileError) as caught:
        parse_source("a: .nan\nb: 1\nb: 2\nc: .inf", "f")
    assert [p.line for p in caught.value.problems] == [1, 3, 4]
    assert str(caught.value).count("\n") == 2
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"no such file.*magflow init"):
        read_source(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_source(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not text"):
        read_source(tmp_path / "binary")
    (tmp_path / "large").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="too large"):
        read_source(tmp_path / "large")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text("abc xyz-_", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcxyz", min_size=1), plain, min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_agrees_with_the_safe_loader(data):
    """Any plain document gives what ruamel's own safe loader gives."""
    from io import StringIO

    stream = StringIO()
    YAML(typ="safe", pure=True).dump(data, stream)
    assert parse_source(stream.getvalue(), "f").data == YAML(typ="safe", pure=True).load(stream.getvalue())


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=150)
def test_any_text_is_read_or_refused(text):
    try:
        parse_source(text, "f")
    except CampaignFileError as error:
        assert str(error).startswith("f:")
