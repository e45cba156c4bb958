"""Plots of a benchmark report, as SVG that stands in the page itself; equal figures give equal bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.proactive.metadata import OTHER, PUBLIC
from bench.results import Result

COLOURS: Final = ("#0072b2", "#c8500a", "#009e73", "#7a5195", "#a07000", "#56b4e9")
METRICS: Final = {"mmau": "average", "alpaca-eval": "rating", "sd-qa": "judge", "librispeech": "clean", "covost2": "en-zh"}


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its caption."""

    caption: str
    svg: str


def domain_plot(results: Sequence[Result]) -> Plot | None:
    """Balanced accuracy on proactive sets by domain, run beside run; 50 % is what luck gets."""
    runs = [one for one in results if "domains" in one.details]
    if not runs:
        return None
    names = sorted({name for run in runs for name in run.details["domains"]})

    def draw(axes: Any) -> None:
        width = 0.8 / len(runs)
        for place, run in enumerate(runs):
            values = [100 * (run.details["domains"].get(name, {}).get("balanced_accuracy") or 0.0) for name in names]
            at = [number + (place - (len(runs) - 1) / 2) * width for number in range(len(names))]
            axes.bar(at, values, width, label=f"{run.model}, {run.benchmark}, {run.mode}", color=COLOURS[place % len(COLOURS)])
        axes.axhline(50, color="#888888", linewidth=0.8)
        axes.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names], fontsize=7)
        axes.set_ylabel("balanced accuracy, %")
        axes.set_ylim(0, 100)
        axes.legend(fontsize=7)

    return Plot("Proactive sounds by domain; the line is what always and never responding get.", _svg(draw))


def segment_plot(results: Sequence[Result]) -> Plot | None:
    """Stability under concatenation: a benchmark's figure over N, where it was run with more than one."""
    curves: dict[tuple[str, str, str], dict[int, float]] = {}
    for one in results:
        if one.details.get("stability"):
            points = {int(count): float(value) for count, value in one.details["stability"].items()}
            curves[(one.model, one.benchmark, "balanced accuracy")] = points
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
        axes.set_xlabel("N, sounds or items in one stream")
        axes.set_xticks(sorted({count for points in curves.values() for count in points}))
        axes.set_ylim(0, 1.15 * max(max(points.values()) for points in curves.values()) or 1.0)
        axes.legend(fontsize=7)

    return Plot("Stability under concatenation.", _svg(draw))


def analysis_plots(document: Mapping[str, Any]) -> list[Plot]:
    """Continuity by layer and the importance of every head, of one document of `bench.analyses`."""
    plots = []
    if layers := document.get("continuity"):

        def continuity(axes: Any) -> None:
            axes.plot(
                range(len(layers)), [one["ratio"] for one in layers], "o-", color=COLOURS[0], label="as it is", markersize=4
            )
            axes.plot(
                range(len(layers)), [one["centred"] for one in layers], "o-", color=COLOURS[1], label="centred", markersize=4
            )
            axes.legend(fontsize=7)
            axes.axhline(1.0, color="#888888", linewidth=0.8)
            axes.set_xticks(range(len(layers)), [one["layer"] for one in layers], fontsize=7, rotation=45, ha="right")
            axes.set_ylabel("continuity ratio")

        caption = f"{document['model']}: cosine similarity across chunk boundaries relative to within chunks (1: seamless)."
        plots.append(Plot(caption, _svg(continuity)))
    if heads := document.get("heads"):

        def ablation(axes: Any) -> None:
            image = axes.imshow(heads["drop"], aspect="auto", cmap="viridis", interpolation="nearest")
            axes.set_xlabel("head")
            axes.set_ylabel("layer")
            axes.set_xticks(range(len(heads["drop"][0])))
            axes.set_yticks(range(len(heads["drop"])))
            axes.figure.colorbar(image, label="drop of balanced token match")

        caption = (
            f"{document['model']}: what zeroing one attention head costs in control tokens (all heads: {heads['base']:.3f})."
        )
        plots.append(Plot(caption, _svg(ablation)))
    return plots


def _svg(draw: Callable[[Any], None]) -> str:
    """An inline SVG element."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {"svg.hashsalt": "soundflow", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}
    ):
        figure = Figure(figsize=(6.4, 3.1), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        held = io.StringIO()
        figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return re.sub(r"^.*?(?=<svg)", "", held.getvalue(), count=1, flags=re.DOTALL)
