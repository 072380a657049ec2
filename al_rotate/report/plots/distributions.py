"""How pool, labels and detections are distributed: over classes, over sizes, and in the space of image features."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from ...boxes import area
from ...data import SHOWN_SCORE, RotatedInstances
from .axes import OKABE_ITO, new_axes, without_frame, without_mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HATCHES = ("", "///", "...", "xxx")  # beside the colour, for who cannot tell colours apart
_STYLES = ("-", "--", ":", "-.")
MOST_CLASSES = 20  # drawn: the rarest others share a bar


def class_histogram(parts: Mapping[str, RotatedInstances], ax: Axes | None = None, share: bool = True) -> Axes:
    """Draw how often each class occurs in several sets, such as labels, and detections on the pool.

    Args:
        parts: name -> labels or detections, of the same classes. Detections below SHOWN_SCORE do not count.
        ax: where to draw; new Axes if None.
        share: draw the share of each set's boxes, in percent, since sets differ in size; False: the numbers.

    Raises:
        ValueError: for no sets, or sets of different classes.
    """
    names = _common_classes(parts)
    counts = {name: np.bincount(_shown(part).labels, minlength=len(names)) for name, part in parts.items()}
    total = sum(counts.values())
    order = np.lexsort((np.arange(len(names)), -np.asarray(total)))
    kept, rest = (
        (order, order[:0]) if len(order) <= MOST_CLASSES else (order[: MOST_CLASSES - 1], order[MOST_CLASSES - 1 :])
    )
    ax = ax or new_axes()
    height = 0.8 / len(parts)
    for k, (name, count) in enumerate(counts.items()):
        values = np.append(count[kept], count[rest].sum()) if len(rest) else count[kept]
        values = 100 * values / max(count.sum(), 1) if share else values
        ax.barh(
            np.arange(len(values)) + (k - (len(parts) - 1) / 2) * height,
            values,
            height * 0.92,
            color=OKABE_ITO[k % len(OKABE_ITO)],
            hatch=_HATCHES[k % len(_HATCHES)],
            edgecolor="white",
            lw=0,
            label=f"{name}: {count.sum():,} boxes",
        )
    ticks = [*(names[k] for k in kept), *([f"{len(rest)} more"] if len(rest) else [])]
    ax.set_yticks(range(len(ticks)), ticks, fontsize=8, parse_math=False)
    ax.invert_yaxis()
    ax.set_xlabel("share of the boxes, %" if share else "boxes")
    without_mathtext(ax.legend(fontsize=7, frameon=False))
    without_frame(ax)
    return ax


def size_histogram(parts: Mapping[str, RotatedInstances], ax: Axes | None = None) -> Axes:
    """Draw how large the boxes of several sets are: the square root of the area, in pixels, on a logarithmic axis.

    Args:
        parts: name -> labels or detections. Detections below SHOWN_SCORE do not count.
        ax: where to draw; new Axes if None.

    Raises:
        ValueError: for no sets.
    """
    if not parts:
        raise ValueError("expected one set of boxes at least, got none")
    ax = ax or new_axes()
    sides = {name: np.sqrt(area(_shown(part).boxes)) for name, part in parts.items()}
    sides = {name: values[values > 0] for name, values in sides.items()}
    every = np.concatenate(list(sides.values()))
    low, high = (every.min(), every.max()) if len(every) else (1.0, 2.0)
    edges = np.geomspace(low * 0.999, max(high, low * 1.01) * 1.001, 31)
    for k, (name, values) in enumerate(sides.items()):
        shares = 100 * np.histogram(values, edges)[0] / max(len(values), 1)
        median = f", median {np.median(values):.0f} px" if len(values) else ""
        looks: dict[str, Any] = {"color": OKABE_ITO[k % len(OKABE_ITO)], "ls": _STYLES[k % len(_STYLES)], "lw": 1.6}
        ax.stairs(shares, edges, label=f"{name}{median}", **looks)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(0, max(ax.dataLim.y1, 1) * 1.3)  # room for the legend
    ax.set(xlabel="size of the box, √(w h) in pixels", ylabel="share of the boxes, %")
    without_mathtext(ax.legend(fontsize=7, frameon=False))
    without_frame(ax)
    return ax


def feature_map(
    detections: RotatedInstances,
    selected: Sequence[str] | Mapping[str, Collection[str]],
    labelled: Collection[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw the pool as points on the two principal components of its image features, with selections marked.

    Args:
        detections: with ``image_features`` (M, E).
        selected: ids of the images that were selected, or name -> ids, to compare strategies.
        labelled: ids of images that were labelled before.
        ax: where to draw; new Axes if None.

    Raises:
        ValueError: for detections without image features, or fewer than two images.
        KeyError: for an id that is not among the detections.
    """
    features = detections.image_features
    if features is None or len(detections) < 2:
        raise ValueError(
            f"expected two images at least, with image_features, got {detections!r}: predict(features=True)"
        )
    points, share = _principal_components(features.astype(np.float64))
    ax = ax or new_axes()
    ax.scatter(points[:, 0], points[:, 1], s=10, color="#c3cad2", lw=0, label=f"pool: {len(points):,} images")
    sets = selected if isinstance(selected, Mapping) else {"selected": selected}
    groups = [("labelled before", labelled), *sets.items()] if len(labelled) else [*sets.items()]
    markers = iter("sDo^vPX" if len(labelled) else "Do^vPX")
    colours = iter(["#000000", *OKABE_ITO[:-1]] if len(labelled) else OKABE_ITO)
    for (name, ids), marker, colour in zip(groups, markers, colours, strict=False):
        at = points[[detections.position(image_id) for image_id in ids]] if len(ids) else points[:0]
        ax.scatter(
            at[:, 0],
            at[:, 1],
            s=26,
            marker=marker,
            color=colour,
            edgecolor="white",
            lw=0.6,
            label=f"{name}: {len(at):,}",
        )
    ax.set(
        xlabel=f"first principal component ({share[0]:.0%} of the variance)",
        ylabel=f"second ({share[1]:.0%})",
        xticks=[],
        yticks=[],
    )
    without_mathtext(ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)))
    without_frame(ax)
    return ax


def _principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates (M, 2) on the first two principal components, and their shares of the variance."""
    centred = features - features.mean(axis=0)
    # From the E x E covariance: pools are larger than features.
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)  # one sign for all
    points = centred @ axes
    share = values[::-1][:2] / max(values.sum(), 1e-12)
    missing = 2 - points.shape[1]  # a single feature has no second component
    return np.pad(points, ((0, 0), (0, missing))), np.pad(np.clip(share, 0, 1), (0, missing))


def _shown(part: RotatedInstances) -> RotatedInstances:
    return part if part.scores is None else part.where(part.scores >= SHOWN_SCORE)


def _common_classes(parts: Mapping[str, RotatedInstances]) -> tuple[str, ...]:
    if not parts:
        raise ValueError("expected one set of boxes at least, got none")
    classes = {part.classes for part in parts.values()}
    if len(classes) > 1:
        raise ValueError(f"expected sets of the same classes, got {sorted(map(str, classes))}")
    named = next(iter(classes))
    most = max(int(part.labels.max(initial=-1)) for part in parts.values())
    return named if named is not None else tuple(str(k) for k in range(most + 1))
