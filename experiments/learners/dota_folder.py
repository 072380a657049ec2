"""A dataset in DOTA form with the lists of its training and test images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import al_rotate as al
from al_rotate.data import images
from al_rotate.data.formats import dota


class DotaFolder(NamedTuple):
    """Labels and files of all images, and the ids of those to train and to test on."""

    labels: al.RotatedInstances
    files: dict[str, Path]
    train: list[str]
    test: list[str]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes or ()

    def part(self, image_ids: list[str]) -> tuple[dict[str, Path], al.RotatedInstances]:
        """Files and labels of these images."""
        return {image_id: self.files[image_id] for image_id in image_ids}, self.labels.subset(image_ids)


def read(folder: Path) -> DotaFolder:
    """Read ``images/``, ``labelTxt/``, ``splits/train.txt`` and ``splits/test.txt``."""
    train, test = ((folder / "splits" / f"{part}.txt").read_text().split() for part in ("train", "test"))
    return DotaFolder(dota.read(folder / "labelTxt"), images.find(folder / "images"), train, test)
