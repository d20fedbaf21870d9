"""Prints docs/images/loop.svg: the jobs of one iteration as jobflow has them, and the way back to the next."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import networkx as nx

from magflow.campaign.build import campaign_maker
from magflow.campaign.load import load_campaign

FILE = Path(__file__).parents[1] / "workflows" / "model_hamiltonian.yaml"
BOX, GAP = (104, 34), (30, 12)
"""Width and height of a job, and the distance between two, in pixels of the picture."""

ABOUT = {
    "explore": ("frames of", "the whole domain"),
    "select": ("those that", "teach most"),
    "label batch": ("constrained DFT,", "one job per frame"),
    "assess": ("errors on labels", "it had not seen"),
    "advance": ("good enough?", "budget left?"),
}

STYLE = """.loop { max-width: 800px; width: 100%; font: 13px system-ui, sans-serif }
.loop rect { fill: var(--color-background-secondary, #f4f6f8); stroke: currentColor; stroke-opacity: .45 }
.loop path { fill: none; stroke: currentColor; stroke-opacity: .6 }
.loop text { fill: currentColor; text-anchor: middle }
.loop .about { font-size: 11px; opacity: .75 }"""


def picture() -> str:
    """The whole picture, which takes its colours from the page that holds it."""
    graph = campaign_maker(load_campaign(FILE)).make().graph
    columns = [[graph.nodes[n]["label"] for n in layer] for layer in nx.topological_generations(graph)]
    names = nx.relabel_nodes(nx.transitive_reduction(graph), {n: d["label"] for n, d in graph.nodes(data=True)})
    places = dict(_places([sorted(column) for column in columns]))
    width = len(columns) * (BOX[0] + GAP[0]) - GAP[0] + 2
    below = max(y for _, y in places.values()) + BOX[1] + 16
    shapes = [*_jobs(places), *(_arrow(places[a], places[b]) for a, b in sorted(names.edges))]
    return "\n".join(
        [
            f'<svg class="loop" viewBox="-1 -1 {width} {below + 6:g}" role="img"',
            '  aria-label="explore, select, label, train, assess, advance, and back to explore">',
            f"<style>\n{STYLE}\n</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"',
            ' orient="auto"><path d="M0,0 L8,4 L0,8 z" style="fill:currentColor;stroke:none"/></marker></defs>',
            *shapes,
            *_way_back(places, below),
            "</svg>",
            "",
        ]
    )


def _places(columns: list[list[str]]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Upper left corner of each job; a column is centred."""
    step = BOX[1] + GAP[1]
    height = max(map(len, columns)) * step - GAP[1]
    for k, column in enumerate(columns):
        top = (height - (len(column) * step - GAP[1])) / 2
        for row, name in enumerate(column):
            yield name, (k * (BOX[0] + GAP[0]), top + row * step)


def _jobs(places: dict[str, tuple[float, float]]) -> Iterator[str]:
    for name, (x, y) in places.items():
        yield f'<rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="6"/>'
        yield _text(x + BOX[0] / 2, y + BOX[1] / 2 + 4.5, name)
        for line, words in enumerate(ABOUT.get(name.rpartition(" ")[0], ())):
            yield _text(x + BOX[0] / 2, y + BOX[1] + 16 + 14 * line, words, "about")


def _arrow(begin: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to, at) = begin, end
    x, y, at = x + BOX[0], y + BOX[1] / 2, at + BOX[1] / 2
    bend = (x + to) / 2
    return f'<path d="M{x:g},{y:g} C{bend:g},{y:g} {bend:g},{at:g} {to:g},{at:g}" marker-end="url(#tip)"/>'


def _way_back(places: dict[str, tuple[float, float]], below: float) -> Iterator[str]:
    """From below the last job to below the first."""
    ends = [place for _, place in sorted(places.items(), key=lambda item: item[1])]
    (first, y), (last, _) = ends[0], ends[-1]
    start, stop, base = last + BOX[0] / 2, first + BOX[0] / 2, y + BOX[1] + 38
    yield f'<path d="M{start:g},{base:g} V{below:g} H{stop:g} V{base:g}" marker-end="url(#tip)"/>'
    yield _text(stop + BOX[0], below - 6, "the next iteration", "about")


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{css}>{escape(words)}</text>'


if __name__ == "__main__":
    print(picture(), end="")
