"""Plots of a benchmark report as inline SVG. Equal figures give equal bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from soundflow.bench.proactive.metadata import OTHER, PUBLIC
from soundflow.bench.proactive.results import Result
from soundflow.bench.report.analyses import Analysis, HeadDrops

COLOURS: Final = ("#0072b2", "#c8500a", "#009e73", "#7a5195", "#a07000", "#56b4e9")
METRICS: Final = {"mmau": "average", "alpaca-eval": "rating", "sd-qa": "judge", "librispeech": "clean", "covost2": "en-zh"}
"""Benchmark → figure that its plot shows; `accuracy` for others."""
MAX_RECORDINGS: Final = 10
"""Maximum number of recordings in the plot of a run."""
LABELS: Final = {("RESPOND", "calls for a response"): "#f0a070", ("IGNORE", "calls for none"): "#a8c8e0"}


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its caption."""

    caption: str
    svg: str


def domain_plot(results: Sequence[Result]) -> Plot | None:
    """Return the bar plot of balanced accuracy by domain, for runs on proactive sets; chance level is 50 %."""
    runs = [one for one in results if one.domains]
    if not runs:
        return None
    names = sorted({name for run in runs for name in run.domains})

    def draw(axes: Any) -> None:
        width = 0.8 / len(runs)
        for place, run in enumerate(runs):
            values = [run.domains.get(name) or 0.0 for name in names]
            at = [number + (place - (len(runs) - 1) / 2) * width for number in range(len(names))]
            axes.bar(at, values, width, label=f"{run.model}, {run.benchmark}, {run.mode}", color=COLOURS[place % len(COLOURS)])
        axes.axhline(50, color="#888888", linewidth=0.8)
        axes.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names], fontsize=7)
        axes.set_ylabel("balanced accuracy, %")
        axes.set_ylim(0, 100)
        _legend(axes)

    return Plot(
        "Proactive sounds by domain. The line is the score of always or never responding, in domains with both decisions.",
        _svg(draw),
    )


def segment_plot(results: Sequence[Result]) -> Plot | None:
    """Return the plot of figures over N (stability under concatenation), for benchmarks that were run with several N."""
    curves: dict[tuple[str, str, str], dict[int, float]] = {}
    for one in results:
        if one.curve:
            curves[(one.model, one.benchmark, "balanced accuracy")] = one.curve
        else:
            figure = METRICS.get(one.benchmark, "accuracy")
            value = one.figures.get(figure)
            if value is not None and one.benchmark not in (PUBLIC, OTHER):
                curves.setdefault((one.model, one.benchmark, figure), {})[one.segments] = value
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    if not curves:
        return None

    def draw(axes: Any) -> None:
        for place, (name, points) in enumerate(sorted(curves.items())):
            counts = sorted(points)
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(counts, [points[count] for count in counts], "o-", color=colour, label=", ".join(name), markersize=4)
        axes.set_xlabel("N, sounds or items per stream")
        axes.set_xticks(sorted({count for points in curves.values() for count in points}))
        axes.set_ylim(0, 1.15 * max(max(points.values()) for points in curves.values()) or 1.0)
        _legend(axes)

    return Plot("Stability under concatenation.", _svg(draw))


def takes_plots(results: Sequence[Result]) -> list[Plot]:
    """Return a plot per run on long recordings: when responses opened, over the labels."""
    return [_takes_plot(one) for one in results if one.takes]


def _takes_plot(run: Result) -> Plot:
    takes = run.takes[:MAX_RECORDINGS]

    def draw(axes: Any) -> None:
        for row, take in enumerate(takes):
            axes.plot([0, take.seconds], [row, row], color="#dddddd", linewidth=0.8, zorder=0)
            for (decision, name), colour in LABELS.items():
                spans = [(start, end - start) for start, end, labelled in take.labels if labelled == decision]
                axes.broken_barh(spans, (row - 0.3, 0.6), color=colour, label="" if row else name)
            axes.plot(take.said, [row] * len(take.said), "k|", markersize=9, label="" if row else "response")
        axes.set_yticks(range(len(takes)), [take.id for take in takes], fontsize=7)
        axes.set_ylim(len(takes) - 0.4, -0.6)
        axes.set_xlabel("seconds")
        _legend(axes)

    left = len(run.takes) - len(takes)
    caption = f"{run.model}: responses in long recordings" + (f"; {left} more recordings are not shown." if left else ".")
    return Plot(caption, _svg(draw))


def analysis_plots(analysis: Analysis) -> list[Plot]:
    """Return the plots of continuity by layer and of the importance of heads, over all tasks and by task."""

    def continuity(axes: Any) -> None:
        places = range(len(analysis.continuity))
        axes.plot(places, [one.ratio for one in analysis.continuity], "o-", color=COLOURS[0], label="raw", markersize=4)
        axes.plot(places, [one.centred for one in analysis.continuity], "o-", color=COLOURS[1], label="centred", markersize=4)
        _legend(axes)
        axes.axhline(1.0, color="#888888", linewidth=0.8)
        axes.set_xticks(places, [one.layer for one in analysis.continuity], fontsize=7, rotation=45, ha="right")
        axes.set_ylabel("continuity ratio")

    caption = f"{analysis.model}: cosine similarity across chunk boundaries relative to within chunks (1: seamless)."
    tasks = analysis.heads.by_task if len(analysis.heads.by_task) > 1 else {}
    heads = {analysis.model: analysis.heads, **{f"{analysis.model} ({task})": one for task, one in tasks.items()}}
    return [Plot(caption, _svg(continuity)), *(_heads_plot(name, one) for name, one in heads.items())]


def _heads_plot(name: str, heads: HeadDrops) -> Plot:
    drop = heads.drop

    def draw(axes: Any) -> None:
        most = max(abs(value) for row in drop for value in row) or 1.0
        image = axes.imshow(drop, aspect="auto", cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        axes.set_xlabel("head")
        axes.set_ylabel("layer")
        axes.set_xticks(range(len(drop[0])))
        axes.set_yticks(range(len(drop)))
        axes.figure.colorbar(image, label="drop in balanced token match")

    return Plot(f"{name}: drop in balanced token match when one head is zeroed (all heads: {heads.base:.3f}).", _svg(draw))


def _legend(axes: Any) -> None:
    """Draw the legend above the axes."""
    axes.figure.legend(loc="outside upper left", fontsize=7, ncols=3, frameon=False)


def _svg(draw: Callable[[Any], None]) -> str:
    """Return an inline SVG element."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": "soundflow", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}
    with matplotlib.rc_context(style | {"text.parse_math": False}):  # names of models and recordings are no formulas
        figure = Figure(figsize=(6.4, 3.1), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), count=1, flags=re.DOTALL)
