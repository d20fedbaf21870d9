from __future__ import annotations

import re

from magflow.presentation.blocks import Table
from magflow.presentation.page import page
from magflow.presentation.sections import Section, TitledTable

TABLE = Table(["Thing", "Number (eV)"], [["a", 1]], frozenset({1}))


def test_a_section_is_told_in_one_order_whatever_it_holds():
    tables = [TitledTable("Folded", TABLE, "hidden", folded=True), TitledTable("Open", TABLE, "seen")]
    short = [TitledTable("Short", TABLE)]
    section = Section("this", "This", "A title", "Why so.", tables=tables, remarks=[("a", "is not b")], lead=short)
    html = page("window", "small print", "heading", [section])
    order = ("window", "small print", "heading", "A title", "Why so.", "Short", "is not b", "Open", "seen", "Folded")
    found = [html.index(f">{word}") if word != "is not b" else html.index(word) for word in order]
    assert found == sorted(found) and html.index("hidden") > found[-1]
    assert "<details><summary>Folded" in html and '<td class="num">1</td>' in html


def test_a_section_with_a_title_alone_has_no_empty_parts():
    html = page("w", "l", "h", [Section("bare", "Bare", "Bare")])
    body = html[html.index('<section id="bare"') : html.index("</section>")]
    assert re.findall(r"<(\w+)", body) == ["section", "h2"]


def test_a_table_without_heads_is_one_of_pairs():
    html = page("w", "l", "h", [Section("s", "S", "S", tables=[TitledTable("", Table(["", ""], [["key", "value"]]))])])
    assert '<table class="pairs">' in html and "<thead>" not in html and "<h3>" not in html


def test_texts_are_escaped_and_lose_credentials():
    secret = "mongodb://ada:hunter2@db.example/x"
    sections = [Section("s", "S", "<script>", secret, remarks=[(secret, "<img>")])]
    html = page(secret, "<b>", secret, sections)
    assert "hunter2" not in html and html.count("<script") == 1 and "<img>" not in html and "&lt;b&gt;" in html
    assert "default-src 'none'" in html
