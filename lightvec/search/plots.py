"""Plots of recall against latency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightvec.errors import InvalidOption, MissingExtra
from lightvec.search.recall_measurement import Recall
from lightvec.search.tuning import Tuning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_plot", "plot"]

_FORMATS = (".png", ".svg", ".pdf")

#: Distinguishable in grayscale, too (Okabe and Ito, "Color Universal Design").
_BLUE, _ORANGE, _GRAY = "#0072B2", "#D55E00", "#666666"


def check_plot(path: str | Path) -> None:
    """Refuse what :func:`plot` could not write, before anything is measured.

    :class:`~lightvec.errors.InvalidOption` for another ending or a missing folder,
    :class:`~lightvec.errors.MissingExtra` without matplotlib.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise InvalidOption(f"expected a file for the plot that ends in {', '.join(_FORMATS)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise InvalidOption(f"expected a folder for the plot that is there, got {str(path.parent)!r}")
    _figure()


def plot(result: Recall | Tuning, path: str | Path) -> None:
    """Draw recall against latency into a .png, .svg or .pdf file; it needs matplotlib, and no display.

    Each point is a setting that was measured, and one the exact search; a line shows the target.

    >>> plot(recall(Doc.embedding), "recall.svg")  # doctest: +SKIP
    """
    check_plot(path)
    figure = _figure()
    axes = figure.add_subplot()
    if isinstance(result, Tuning):
        axes.axhline(result.target, color=_GRAY, linestyle="--", linewidth=1, label=f"target {result.target:g}")
        axes.legend(loc="lower right")
    points = _points(result)
    axes.plot([ms for ms, *_ in points], [recall for _, recall, _ in points], "o-", color=_BLUE)
    if result.index is not None:
        points.append((result.exact_ms, 1.0, "exact"))
        axes.plot(result.exact_ms, 1.0, "D", color=_GRAY)
        axes.plot(result.latency_ms, result.recall, "o", color=_ORANGE, markersize=10)
    for ms, recall, label in points:
        axes.annotate(label, (ms, recall), xytext=(7, -11), textcoords="offset points", fontsize=8)
    # An exact search may take a hundred times as long.
    axes.set(xscale="log", xlabel="median latency of a query, ms", ylabel="recall")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3, which="both")
    index = result.index.name if result.index else "no index"
    title = f"{result.title}\n{result.table}, {result.rows:,} rows, {index}"
    # A dollar sign in a name is no formula.
    axes.set_title(title, fontsize=10, parse_math=False)
    figure.savefig(path)


def _figure() -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plot", "a plot") from error
    # Not pyplot: it looks for a display, and keeps figures.
    return Figure(figsize=(7, 4.5), dpi=150, layout="constrained")


def _points(result: Recall | Tuning) -> list[tuple[float, float, str]]:
    if isinstance(result, Tuning) and result.curve:
        return [(trial.latency_ms, trial.recall, f"{result.setting}={trial.value}") for trial in result.curve]
    settings = result.settings if isinstance(result, Recall) else {}
    label = ", ".join(f"{name}={value}" for name, value in settings.items())
    return [(result.latency_ms, result.recall, label or "every row compared")]
