"""How figures look, and how a matplotlib figure becomes SVG that follows the theme of the page.

Figures are static SVG: a page of them opens from a mail or over ssh without scripts, prints, and stays below a
megabyte, where an interactive library alone would take five. Every colour below is written by matplotlib as is and
then exchanged for a CSS variable, so that the same drawing serves a light and a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magflow.core.masking import mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1b1f25", "#69717d", "#e1e5ea", "#fdfefe"
BLUE, ORANGE, GREEN, PURPLE, RED, SKY, YELLOW, GREY = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#8c949f",
)  # fmt: skip
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, GREY)
"""Okabe and Ito's colour-blind-safe palette (2008), its yellow darkened for white paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", BLUE: "--blue", ORANGE: "--orange",
    GREEN: "--green", PURPLE: "--purple", RED: "--red", SKY: "--sky", YELLOW: "--yellow", GREY: "--grey",
}  # fmt: skip
"""Colour of a figure to the CSS variable that replaces it."""

WIDE, HALF = 10.4, 5.1
"""Inches: the whole column of a page, and half of it."""

ANCHOR = "on-page-"
"""How the ids of what is on the page beside a drawing begin, to which marks of the drawing may link."""

DENSE = 800
"""Marks beyond which a layer is drawn as pixels: vectors would swell the page."""

_RC: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8.0, "svg.fonttype": "none",
    "axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 7.0,
    "axes.labelsize": 8.0, "axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.titlecolor": INK,
    "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6, "text.color": INK,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "xtick.major.size": 3.0, "ytick.major.size": 3.0,
    "xtick.minor.size": 0.0, "ytick.minor.size": 0.0, "legend.frameon": False, "legend.fontsize": 7.5,
    "legend.handlelength": 1.6, "legend.borderaxespad": 0.2, "lines.linewidth": 1.5, "lines.markersize": 4.0,
    "text.parse_math": False, "figure.dpi": 72.0, "savefig.dpi": 200.0, "figure.constrained_layout.use": True,
}  # fmt: skip


def draw(width: float, height: float, paint: Callable[[Any], None], **panels: Any) -> Figure:
    """A styled figure of `width` x `height` inches, filled by ``paint(axes)``; no global state is kept.

    `panels` are those of matplotlib's ``Figure.subplots``; `paint` gets the one axes, or the array of them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.subplots(**panels))
    return figure


def plain_ticks(axis: Any, most: int = 5, *, whole: bool = False) -> None:
    """Ticks of an axis as plain numbers; a logarithmic one gets 1, 2, 5 steps while it spans few decades.

    `whole` keeps to integers.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if axis.get_scale() == "log":
        low, high = sorted(axis.get_view_interval())
        decades = max(high, 1e-300) / max(low, 1e-300)
        subs = (1.0,) if decades > 1e3 else (1.0, 3.0) if decades > 40 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(10, subs=subs, numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3, integer=whole))


def empty(axes: Axes, text: str) -> None:
    """Say why there is nothing to see."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])


def to_svg(figure: Figure, name: str, label: str) -> str:
    """`figure` as an ``<svg>`` element to put into a page, its texts without credentials.

    Parameters
    ----------
    name
        Unique on the page: keeps the ids of several drawings apart.
    label
        What a screen reader says.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**_RC, "svg.hashsalt": name}):
        _write_svg(figure, buffer)
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = _compact(_short_ids(svg.replace("xlink:href", "href").replace(' target="_blank"', ""), name))
    svg = re.sub(r"font: ([\d.]+px|bold [\d.]+px|700 [\d.]+px) '[^\"]*?sans-serif", r"font: \1 sans-serif", svg)
    svg = re.sub("|".join(VARIABLES), lambda m: f"var({VARIABLES[m[0]]})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"(<text[^>]*>)([^<]*)", lambda m: m[1] + mask(m[2]), svg)
    head = f'<svg role="img" aria-label="{_attribute(mask(label))}"'
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', lambda m: f"{head} {m[1]}>", svg, count=1)
    return re.sub(r"\n\s*", "\n", svg)


def _write_svg(figure: Figure, buffer: io.StringIO) -> None:
    """As ``figure.savefig`` would, transparent; that draws everything a second time only to find its places."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    canvas = FigureCanvasSVG(figure)  # measures texts as they will be drawn
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set(facecolor="none", edgecolor="none")
    figure.set_dpi(_RC["savefig.dpi"])  # of what is drawn as pixels
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})


def light_colours() -> str:
    """The variables of drawings as a light page sets them: for the attribute ``style`` of what stands on no page."""
    return ";".join(f"{name}:{value}" for value, name in VARIABLES.items())


def standalone(svg: str) -> str:
    """A drawing of a page as a file of its own: with the colours that the page would give it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" style="{light_colours()};background:{PAPER}" '
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg.replace("<svg ", head, 1)}\n'


def _short_ids(svg: str, name: str) -> str:
    """Ids that are referred to become ``<name>-<n>``; the others go. Links to the page beside the drawing stay."""
    own = f'href="#(?!{ANCHOR})([^"]+)"'
    used = re.findall(own, svg) + re.findall(r"url\(#([^)]+)\)", svg)
    short = {old: f"{name}-{n}" for n, old in enumerate(dict.fromkeys(used))}
    svg = re.sub(r'\s+id="([^"]*)"', lambda m: f' id="{short[m[1]]}"' if m[1] in short else "", svg)
    svg = re.sub(own, lambda m: f'href="#{short[m[1]]}"', svg)
    return re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{short[m[1]]})", svg)


def _compact(svg: str) -> str:
    """Hundredths of a point suffice, and marks of one style share it: a third of the size."""
    svg = re.sub(r'\s(?:x|y|d|transform)="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)
    first = r'<use href="[^"]*" x="[^"]*" y="[^"]*" style="(?P<style>[^"]*)"/>\s*'
    run = re.compile(first + r'(?:<use [^>]* style="(?P=style)"/>\s*)+')
    return run.sub(lambda m: f'<g style="{m["style"]}">' + m[0].replace(f' style="{m["style"]}"', "") + "</g>\n", svg)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
