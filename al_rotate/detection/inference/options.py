"""What a caller may ask of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...data.images import as_bands, as_stretch


class OutputOptions(NamedTuple):
    """What is kept of a model's predictions; the fields are those of :class:`PredictOptions`."""

    score_thr: float | None = None
    class_scores: bool = False
    features: bool = False


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``Detector.predict``, ``stream``, ``predict_views`` and ``predict_scenes``.

    Attributes:
        batch_size: images per forward pass; None for 8 on a CPU and 32 on a GPU, fewer where its memory holds no more.
            Several passes run at once: on a CPU up to four, which share the cores, on a GPU two.
        workers: decoding threads; None for one per core, at most 16.
        score_thr: keep boxes with at least this score; not below the config's own threshold.
        progress: show a progress bar.
        out: folder to stream Parquet shards to. Finished shards there are not computed again: after a kill the same
            call resumes.
        class_scores: keep each box's score of every class.
        features: keep one vector per image (the neck's levels averaged over space and levels) and one per box (the
            levels sampled at its centre, averaged).
        bands: numbers, from 1, of the bands of image files that become red, green and blue, such as (4, 3, 2).
        stretch: percentiles that become 0 and 255 in files of more than 8 bits. Both as in
            :func:`al_rotate.images.read`; files made by :func:`al_rotate.images.render` with the same have the same
            pixels. Arrays are left as they are.
        resize_on_device: resize and pad where the detector is, to the same pixels; None does so on a GPU. Only test
            pipelines that load, resize bilinearly by OpenCV, pad with a constant or not, and pack; others run as ever.
        nvjpeg: decode JPEG files on the GPU that the detector is on, which also resizes them. Their pixels, and so the
            boxes, differ a little from those of other decoders, by which files of other kinds are read all the same;
            of files that are damaged behind their header they may differ much.
            Scenes, other views, and files read by `bands` or `stretch` are decoded as ever.

    Raises:
        ValueError: for a `batch_size`, `bands` or `stretch` that cannot be; for `nvjpeg` without resizing there.
    """

    batch_size: int | None = None
    workers: int | None = None
    score_thr: float | None = None
    progress: bool = True
    out: str | Path | None = None
    class_scores: bool = False
    features: bool = False
    bands: int | Sequence[int] | None = None
    stretch: Sequence[float] | None = None
    resize_on_device: bool | None = None
    nvjpeg: bool = False

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"expected a batch_size of at least 1, or None for the default, got {self.batch_size}")
        if self.nvjpeg and self.resize_on_device is False:
            raise ValueError("expected resize_on_device with nvjpeg, which leaves the pixels there, got False")
        object.__setattr__(self, "bands", as_bands(self.bands))
        object.__setattr__(self, "stretch", as_stretch(self.stretch))

    @property
    def reading(self) -> dict[str, Any]:
        """How image files are read: the arguments of :func:`al_rotate.data.sources.as_pairs`."""
        return {"bands": self.bands, "stretch": self.stretch}

    @property
    def output(self) -> OutputOptions:
        return OutputOptions(self.score_thr, self.class_scores, self.features)
