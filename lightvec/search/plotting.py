"""Recall against latency as a picture, for a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightvec.errors import InvalidOption, MissingExtra
from lightvec.search.recalling import Recall
from lightvec.search.tuning import Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "check_plot", "plot"]

#: The endings of the files that can be written.
FORMATS = (".png", ".svg", ".pdf")

#: How far apart two labels are at least, in points, across and up.
_ACROSS, _UP = 60, 12

#: Colours that are told apart in grey, too (Okabe and Ito, "Color Universal Design").
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"

_LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}


class _Point(NamedTuple):
    latency_ms: float
    recall: float
    label: str


def check_plot(path: str | Path) -> None:
    """What :func:`plot` would refuse to write to, said before anything is measured.

    :class:`~lightvec.errors.InvalidOption` for another ending, :class:`~lightvec.errors.MissingExtra` where matplotlib
    is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InvalidOption(f"expected a file for the plot that ends in {', '.join(FORMATS)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise InvalidOption(f"expected a folder for the plot that is there, got {str(path.parent)!r}")
    _figure()


def plot(result: Recall | Tuning, path: str | Path) -> None:
    """Draw recall against latency into a .png, .svg or .pdf file; it needs matplotlib, and no display.

    Each point is a setting that was measured, and one the exact search; a line shows the target of a tuning.

    >>> plot(recall(Doc.embedding), "recall.svg")  # doctest: +SKIP
    """
    check_plot(path)
    figure = _figure()
    axes = figure.add_subplot()
    points, chosen = _points(result), _chosen(result)
    axes.plot(*zip(*[point[:2] for point in points], strict=True), "o-", color=_BLUE, zorder=3)
    if chosen is not None:
        axes.plot(*chosen[:2], "o", color=_ORANGE, markersize=10, zorder=4)
        points.insert(0, chosen)
    if result.index is not None:
        points.append(_Point(result.exact_ms, 1.0, "exact"))
        axes.plot(result.exact_ms, 1.0, "D", color=_GREY, zorder=3)
    targets = [result.target] if isinstance(result, Tuning) else []
    for target in targets:
        _draw_target(axes, target)
    _scale(axes, points, [*targets, *(point.recall for point in points)])
    # A dollar sign in a name begins no formula.
    axes.set_title(_title(result), fontsize=10, parse_math=False)
    figure.draw_without_rendering()
    _label(axes, points)
    figure.savefig(path)


def _draw_target(axes: Axes, target: float) -> None:
    axes.axhline(target, color=_GREY, linestyle="--", linewidth=1)
    at = axes.get_yaxis_transform()
    axes.annotate(
        f"target {target:g}",
        (0, target),
        xycoords=at,
        xytext=(4, 3),
        textcoords="offset points",
        color=_GREY,
        fontsize=8,
    )


def _figure() -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plot", "a plot") from error
    # Without pyplot: nothing asks for a display, and no figure stays behind.
    return Figure(figsize=(7, 4.5), dpi=150, layout="constrained")


def _points(result: Recall | Tuning) -> list[_Point]:
    """What was measured, from the least effort to the most."""
    if isinstance(result, Tuning) and result.curve:
        return [_Point(trial.latency_ms, trial.recall, f"{result.setting}={trial.value}") for trial in result.curve]
    settings = result.settings if isinstance(result, Recall) else {}
    label = ", ".join(f"{name}={value}" for name, value in settings.items())
    return [_Point(result.latency_ms, result.recall, label or "every row compared")]


def _chosen(result: Recall | Tuning) -> _Point | None:
    if isinstance(result, Recall) or result.index is None:
        return None
    return _Point(result.latency_ms, result.recall, f"{result.setting}={result.value}")


def _scale(axes: Axes, points: Sequence[_Point], recalls: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    latencies = [point.latency_ms for point in points]
    # An exact search may take a hundred times as long.
    axes.set_xscale("log")
    axes.set_xlim(min(latencies) / 1.5, max(latencies) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    margin = 0.1 * (1 - min(recalls)) + 0.005
    axes.set_ylim(min(recalls) - margin, 1 + margin)
    axes.set_yticks([tick for tick in axes.get_yticks() if min(recalls) - margin <= tick <= 1])
    axes.set_xlabel("median latency of a query, ms")
    axes.set_ylabel("recall")
    axes.grid(alpha=0.3)


def _label(axes: Axes, points: Sequence[_Point]) -> None:
    """Labels beside the points, the first ones first, without those that would cover another."""
    taken: list[tuple[float, float]] = []
    for point in points:
        x, y = (axes.transData.transform(point[:2]) * 72 / axes.figure.dpi).tolist()
        if not any(abs(x - left) < _ACROSS and abs(y - low) < _UP for left, low in taken):
            taken.append((x, y))
            axes.annotate(
                point.label, point[:2], xytext=(7, -11), textcoords="offset points", fontsize=8, bbox=_LABEL, zorder=5
            )


def _title(result: Recall | Tuning) -> str:
    index = result.index.name if result.index else "no index"
    return f"recall@{result.k} of {result.field} by {result.metric}\n{result.table}, {result.rows:,} rows, {index}"
