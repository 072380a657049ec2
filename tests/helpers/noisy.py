"""A learner for tests of the loop: it predicts the labels with noise, the less the more images it was trained on."""

import hashlib
import json

import numpy as np

from al_rotate.boxes.convert import canonical
from al_rotate.data.instances import RotatedInstances

CLASSES = ("ship", "plane", "court")


def labels_of(n, prefix="image", seed=0, classes=CLASSES):
    """Draw `n` images with up to six boxes each, every fifth of them empty."""
    rng = np.random.default_rng([seed, n])
    counts = [0 if i % 5 == 3 else int(rng.integers(1, 7)) for i in range(n)]
    total = sum(counts)
    place, size = rng.uniform(20, 108, (total, 2)), rng.uniform([20, 8], [40, 16], (total, 2))
    boxes = canonical(np.column_stack([place, size, rng.uniform(-1.5, 1.5, total)]))
    ids = [f"{prefix}_{i:02d}" for i in range(n)]
    sizes = np.full((n, 2), 128)
    labels = rng.integers(0, len(classes), total)
    return RotatedInstances(ids, np.cumsum([0, *counts]), boxes, labels, classes=classes, image_sizes=sizes)


class NoisyLearner:
    """A learner whose weights are a JSON file: on how many images and which they were trained, over how many trainings.

    Args:
        truth: labels of every image that it may have to predict on.
        unreadable: ids of images that it cannot read.
    """

    def __init__(self, truth, unreadable=()):
        self.truth, self.unreadable = truth, unreadable
        self.predicted, self.trained = [], []  # the calls

    def predict(self, checkpoint, images, out, class_scores=False, features=False):
        self.predicted.append((checkpoint, list(images)))
        detections = self._streamed(checkpoint.read_bytes(), images, out)
        if class_scores:
            spread = np.full((detections.n_boxes, len(detections.classes)), 0.1)
            spread[np.arange(detections.n_boxes), detections.labels] = detections.scores
            detections = detections.replace(class_scores=spread)
        if features:  # its classes, and its boxes
            content = np.zeros((len(detections), len(detections.classes)))
            np.add.at(content, (detections.image_index, detections.labels), detections.scores)
            detections = detections.replace(image_features=content, box_features=detections.boxes)
        return detections

    def predict_views(self, checkpoint, images, views, out):
        weights = checkpoint.read_bytes()
        return [self._streamed(weights, images, out / view.name, view.name.encode()) for view in views]

    def _streamed(self, weights, images, out, view=b""):
        for k in range(2):  # two shards, for a kill to come between them
            if not (out / f"{k}.parquet").exists():
                self._detect(weights, list(images)[k::2], view).save(out / f"{k}.parquet")
        detections = RotatedInstances.load(out)
        return detections.subset(i for i in images if i in detections).replace(skipped=detections.skipped)

    def _detect(self, weights, ids, view):
        noise = 0.5 / (1 + json.loads(weights)["taught"] / 8)
        read = [i for i in ids if i not in self.unreadable]
        boxes, labels, scores = [np.zeros((0, 5))], [np.zeros(0, int)], [np.zeros(0)]
        for image_id in read:
            image = self.truth[image_id]
            seed = hashlib.sha256(weights + image_id.encode() + view).digest()
            rng = np.random.default_rng(list(seed))
            boxes.append(image.boxes + rng.normal(0, noise, (image.n_boxes, 5)) * [12, 12, 8, 4, 0.5])
            boxes[-1][:, 2:4] = np.maximum(boxes[-1][:, 2:4], 2)
            wrong = rng.random(image.n_boxes) < noise
            labels.append(np.where(wrong, (image.labels + 1) % len(self.truth.classes), image.labels))
            scores.append(np.clip(0.9 - noise * rng.random(image.n_boxes), 0.05, 1))
        offsets = np.cumsum([0, *(len(rows) for rows in boxes[1:])])
        skipped = {i: "no image" for i in ids if i in self.unreadable}
        columns = np.concatenate(labels), np.concatenate(scores)
        return RotatedInstances(
            read, offsets, canonical(np.concatenate(boxes)), *columns, classes=self.truth.classes, skipped=skipped
        )

    def train(self, checkpoint, images, labels, work_dir):
        self.trained.append((checkpoint, dict(images), labels))
        start = json.loads(checkpoint.read_text()) if checkpoint else {"trainings": 0}
        work_dir.mkdir(parents=True, exist_ok=True)
        weights = work_dir / "weights.json"
        (work_dir / "log.txt").write_text("started\n")
        taught = {image_id: image.n_boxes for image_id, image in labels}
        weights.write_text(json.dumps({"taught": len(taught), "trainings": start["trainings"] + 1, "boxes": taught}))
        (work_dir / "log.txt").write_text("started\nended\n")
        return weights, {"loss": np.float32(1 / (1 + len(taught)))}


class DoubtfulLearner(NoisyLearner):
    """Sees each object with a score of 0.05 to 0.6, and for each four that are not there, with one below 0.3."""

    def _detect(self, weights, ids, view):
        found = super()._detect(weights, ids, view)
        rng = np.random.default_rng(len(ids))
        parts = []
        for image_id, image in found:
            n = 4 * image.n_boxes
            wrong = np.column_stack([rng.uniform(10, 118, (n, 2)), np.tile([4, 3, 0.2], (n, 1))])
            boxes = np.concatenate([image.boxes, wrong])
            labels = np.concatenate([image.labels, rng.integers(0, len(self.truth.classes), n)])
            scores = np.concatenate([rng.uniform(0.05, 0.6, image.n_boxes), rng.uniform(0.02, 0.3, n)])
            parts.append(RotatedInstances([image_id], [0, len(scores)], boxes, labels, scores, classes=image.classes))
        return RotatedInstances.concat([found.subset([]), *parts]).replace(skipped=found.skipped)


class Start:
    """As much of a Detector as the loop uses.

    Args:
        taught: images that its weights were trained on; 0 for random ones.
        text: of its config.
    """

    precision, device = "fp32", "cpu"

    def __init__(self, taught=0, classes=CLASSES, text="model = 1\n"):
        self.taught, self.classes, self.untrained = taught, classes, not taught
        self.checkpoint = "pretrained.pth" if taught else None
        self.config, self.pretty_text = self, text

    def save(self, path):
        path.write_text(json.dumps({"taught": self.taught, "trainings": 0}))

    def dump(self, path):
        path.write_text(self.pretty_text)
