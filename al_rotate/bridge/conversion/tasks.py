"""Images with their predicted boxes -> Label Studio's tasks, checked before they are sent."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...data import RotatedInstances
from ...data.columns import require_unicode
from .addresses import file_path
from .geometry import LARGEST, MIN_VISIBLE, to_importable, visible_share
from .joined import join_entries
from .label_config import LabelConfig

IMAGE_ID = "al_image_id"
# The version under which the server keeps all our predictions. While people label, it shows those of one version alone:
# under the weights' names, the tasks of an earlier round would open without their boxes. It is no name that people give
# to a connected model: the server would then show that one's predictions instead, and none while the model is off.
SHOWN_VERSION = "pushed by al_rotate"
_NUMBERS = ("x", "y", "width", "height", "rotation")


def image_task(
    image_id: str,
    address: str,
    size: tuple[int, int],
    config: LabelConfig,
    detections: RotatedInstances | None = None,
    *,
    model_version: str | None = None,
    uncertainty: float | None = None,
    score: float | None = None,
    rank: int = 1,
    round: int = 0,
    why: str = "",
) -> dict[str, Any]:
    """Make a task.

    Args:
        image_id: kept in its data; tasks are found again by it.
        address: of the image, as Label Studio takes it.
        size: width and height of the image in pixels, as :func:`al_rotate.images.size` gives them.
        config: the project's.
        detections: this one image's boxes with scores; None adds no prediction, no box an empty one.
        model_version: names the detector's weights; needed with detections. It goes into the region ids; the prediction
            as a whole has SHOWN_VERSION.
        uncertainty: the strategy's own figure of the image; None: it has none.
        score: of the image in the query, higher first; None: its uncertainty. The prediction's score is 1 - score,
            since Label Studio's "Uncertainty sampling" hands out the lowest score first.
        rank: its place in the query, from 1.
        round: of the query.
        why: a sentence on why this image is queried; a column of Label Studio's list of tasks.
    """
    data = {config.image_key: address, IMAGE_ID: image_id, "al_rank": rank, "al_uncertainty": uncertainty}
    task: dict[str, Any] = {"data": {**data, "al_round": round, "al_why": why}}
    if detections is not None:
        score = uncertainty if score is None else score
        lowest_first = None if score is None else 1 - score
        made = prediction(image_id, size, config, detections, model_version or "", lowest_first)
        task["predictions"] = [{**made, "model_version": SHOWN_VERSION}]
    return task


def prediction(
    image_id: str,
    size: tuple[int, int],
    config: LabelConfig,
    detections: RotatedInstances,
    model_version: str,
    score: float | None = None,
) -> dict[str, Any]:
    """Make a prediction of one image's detections, one region per box of which at least a tenth lies in the image.

    Args:
        image_id: for the regions' ids.
        size: width and height of the image in pixels.
        config: the project's.
        detections: one image's boxes, with scores and classes.
        model_version: names the detector's weights.
        score: of the image as a whole.

    Raises:
        ValueError: for detections of several images, without classes, or without scores.
    """
    if len(detections) != 1 or detections.classes is None or (detections.scores is None and detections.n_boxes):
        raise ValueError(f"expected one image's detections with classes and scores, got {detections!r}")
    width, height = size
    values = to_importable(detections.boxes, width, height)
    is_visible = visible_share(detections.boxes, width, height) >= MIN_VISIBLE
    scores = np.zeros(0) if detections.scores is None else detections.scores
    regions: list[dict[str, Any]] = []
    named: Counter[str] = Counter()
    for position in np.flatnonzero(is_visible).tolist():
        numbers = dict(zip(_NUMBERS, map(float, values[position]), strict=True))
        label = detections.classes[detections.labels[position]]
        name = region_id(model_version, image_id, [*numbers.values()], label)
        named[name] += 1
        shape: dict[str, Any] = {
            "id": name if named[name] == 1 else f"{name}_{named[name]}",
            "type": "rectanglelabels",
            "from_name": config.from_name,
            "to_name": config.to_name,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": float(scores[position]),
        }
        if config.rectangle is None:
            regions.append({**shape, "value": {**numbers, "rectanglelabels": [label]}})
        else:  # the shape and its labels share an id
            regions.append({**shape, "type": "rectangle", "from_name": config.rectangle, "value": numbers})
            regions.append({**shape, "type": "labels", "value": {**numbers, "labels": [label]}})
    entry: dict[str, Any] = {"model_version": model_version, "result": regions}
    return entry if score is None else {**entry, "score": float(score)}


def is_importable(entry: Mapping[str, Any]) -> bool:
    """Whether Label Studio's bulk import takes a prediction; see :func:`al_rotate.bridge.geometry.to_importable`."""
    shapes = [region["value"] for region in entry["result"] if "x" in region["value"]]
    return all(max(value[name] for name in _NUMBERS[:4]) <= LARGEST for value in shapes)


def region_id(model_version: str, image_id: str, numbers: Sequence[float], label: str) -> str:
    """Name a region the same for the same box of the same weights, so that its correction is recognised.

    Which other boxes are shown beside it makes no difference.

    Args:
        model_version: names the weights.
        image_id: of the image.
        numbers: x, y, width and height in percent, rotation in degrees, as Label Studio has them.
        label: of the project.
    """
    weights = hashlib.sha256(f"{model_version}\n{image_id}".encode()).hexdigest()[:8]
    return f"{weights}_{_box_digest(numbers, label)}"


def region_names(entry: Mapping[str, Any]) -> list[str | None]:
    """Tell by which weights the regions of a prediction are, and which boxes.

    In tasks pushed by version 0.1 an id ends in the box's position among those shown. It names the weights in the same
    way, and the region's own numbers say which box it is: a prediction has the same names whichever version pushed it.

    Args:
        entry: a prediction as it is sent, or as the server returns it, whoever made it.
    """
    result = entry.get("result")
    regions = join_entries(result) if isinstance(result, list) else ()
    return [_region_name(region) for region in regions if isinstance(region, Mapping)]


def _region_name(region: Mapping[str, Any]) -> str | None:
    name, value = region.get("id"), region.get("value")
    if name is None or not isinstance(value, Mapping) or not all(_is_finite(value.get(key)) for key in _NUMBERS):
        return name
    numbers, labels = [value[key] for key in _NUMBERS], value.get("rectanglelabels")
    return f"{str(name).partition('_')[0]}_{_box_digest(numbers, ','.join(map(str, labels or ())))}"


def _box_digest(numbers: Sequence[float], label: str) -> str:
    rounded = [f"{round(number, 4) + 0.0:.4f}" for number in numbers]  # plus zero: there is no "-0.0000"
    return hashlib.sha256("\n".join([*rounded, label]).encode()).hexdigest()[:12]


def image_id_of(data: Mapping[str, Any], image_key: str = "image") -> str:
    """Get the image id of a task's data: ours, or for tasks of others the name of the file that the address ends in.

    Raises:
        ValueError: if there is neither, or an address that names no file.
    """
    if image_id := data.get(IMAGE_ID):
        require_unicode(str(image_id), IMAGE_ID)
        return str(image_id)
    address = data.get(image_key)
    if not isinstance(address, str) or not address:
        raise ValueError(f"expected {IMAGE_ID} or {image_key} in a task's data, got {str(dict(data))[:200]}")
    image_id = file_path(address).stem
    require_unicode(image_id, "an image's name")
    return image_id


def check(task: Mapping[str, Any], config: LabelConfig) -> None:
    """Refuse a task that Label Studio cannot import: it would answer 500, keep the tasks and lose all predictions.

    Raises:
        ValueError: names the image and what is wrong.
    """
    image_id = task["data"].get(IMAGE_ID)

    def require(ok: bool, expected: str, got: Any) -> None:
        if not ok:
            raise ValueError(f"expected {expected} in the task of image {image_id!r}, got {str(got)[:200]}")

    require(isinstance(image_id, str) and bool(image_id), "an image id", image_id)
    address = task["data"].get(config.image_key)
    require(isinstance(address, str) and bool(address), f"an address under {config.image_key!r}", address)
    for entry in task.get("predictions", ()):
        version, score = entry.get("model_version"), entry.get("score")
        require(isinstance(version, str) and bool(version), "a model_version", version)
        require(score is None or _is_finite(score), "a finite score", score)
        seen = set()
        for region in join_entries(entry["result"]):
            require(isinstance(region, Mapping) and isinstance(region.get("value"), Mapping), "regions", region)
            value = region["value"]
            require(all(_is_finite(value.get(name)) for name in _NUMBERS), "finite numbers", value)
            (label,) = value["rectanglelabels"]
            require(label in config.classes, f"one of the labels {', '.join(config.classes)}", label)
            require(region["id"] not in seen, "regions with ids of their own", region["id"])
            seen.add(region["id"])
    try:
        json.dumps(task, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected JSON in the task of image {image_id!r}, got: {error}") from error


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
