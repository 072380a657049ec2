"""What must be known of an export before its boxes are read: its labels, its images, and which files these are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from .conversion.addresses import file_path, image_suffix, start_of_upload, upload_names
from .conversion.export_file import check_task, find_image_key, iterate_tasks
from .conversion.joined import join_entries
from .conversion.tasks import image_id_of


@dataclass
class Survey:
    """What an export holds.

    Args:
        path: the file.
        image_key: the key of the tasks' data that holds the images' addresses.
        labels: the object of the page on which something is drawn -> the labels there.
        suffixes: image id -> suffix of its file.
        addresses: image id -> the addresses of images with that name.
        problems: why tasks cannot be read.
    """

    path: Path
    image_key: str
    labels: dict[str | None, set[str]] = field(default_factory=dict)
    suffixes: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def image_object(self) -> str | None:
        """Return the name of the object that shows the images; None if no region says on which it is.

        Raises:
            ValueError: if several may be meant.
        """
        objects = sorted(name for name in self.labels if name is not None)
        if len(objects) < 2:
            return objects[0] if objects else None
        if self.image_key in objects:
            return self.image_key
        raise ValueError(
            f"{self.path}: expected boxes on one image per task, got some on {' and some on '.join(objects)}: give the "
            "project's labelling configuration, which says what they show, or to_name"
        )

    def classes(self, to_name: str | None, rename: Mapping[str, str]) -> list[str]:
        """Return the labels drawn on an object as classes, sorted, each once."""
        labels = self.labels.get(to_name, set()) | self.labels.get(None, set())
        return sorted({rename.get(label, label) for label in labels})

    def same_names(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Tell images of one name in several folders apart by their files: address -> image id."""
        ids = {}
        for addresses in self.addresses.values():
            for address in addresses if len(addresses) > 1 else ():
                path = file_path(address)
                where = f"/{path.parent / path.stem}"
                fitting = [image_id for image_id in files if where.endswith(f"/{image_id}")]
                if fitting:
                    ids[address] = max(fitting, key=len)
        # Two addresses of one file are left to the reader, which takes over neither.
        return ids if len({*ids.values()}) == len(ids) else {}


def survey_export(path: Path, image_key: str | None, polygons: bool) -> Survey:
    """Look through an export.

    Args:
        path: of the JSON file.
        image_key: None finds it.
        polygons: polygons are boxes, too.

    Raises:
        ValueError: if none of its tasks can be read, and as :func:`iterate_tasks` does.
    """
    survey = Survey(path, image_key or "")
    kinds = ("rectanglelabels", "polygonlabels") if polygons else ("rectanglelabels",)
    for task in iterate_tasks(path):
        survey.image_key = survey.image_key or find_image_key(task["data"])
        try:
            image_id = image_id_of(task["data"], survey.image_key)
            check_task(task)
        except ValueError as error:
            survey.problems.append(f"task {task.get('id')}: {error}")  # the reader reports it, too
            continue
        address = str(task["data"].get(survey.image_key) or "")
        survey.suffixes[image_id] = image_suffix(address)
        survey.addresses.setdefault(image_id, set()).add(address)
        for annotation in task["annotations"]:
            if annotation.get("was_cancelled"):
                continue  # what was drawn before Skip is no label, and its names need be no classes
            for region in join_entries(annotation.get("result") or ()):
                if names := _label_names(region, kinds):
                    on = region.get("to_name")
                    survey.labels.setdefault(None if on is None else str(on), set()).update(names)
    if survey.problems and not survey.suffixes:
        raise ValueError(f"{path}: expected tasks with images, got none that can be read; {survey.problems[0]}")
    return survey


class FilesByName:
    """Files of images, found by the ids of somebody else's tasks: the names of files, as the server keeps them.

    Args:
        files: image id -> file.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._by_name: dict[str, list[Path]] = {}
        self._by_upload: dict[str, list[Path]] = {}
        for image_id, file in files.items():
            name = PurePosixPath(image_id).name
            self._by_name.setdefault(normalize("NFC", name), []).append(file)
            for upload in upload_names(name):
                self._by_upload.setdefault(upload, []).append(file)

    def find(self, image_id: str) -> Path:
        """Find an image's file.

        Raises:
            ValueError: if it has none, or several.
        """
        if image_id in self._files:
            return self._files[image_id]
        name = normalize("NFC", image_id)
        found = self._by_name.get(name) or self._by_upload.get(name) or self._cut(name)
        if len(found) != 1:
            got = " and ".join(map(str, found[:2])) or "none"
            raise ValueError(f"expected one file of the image {image_id!r} in image_files, got {got}")
        return found[0]

    def _cut(self, name: str) -> list[Path]:
        start = start_of_upload(name)
        uploads = self._by_upload.items() if start else ()
        return sorted({file for upload, of_name in uploads if upload.startswith(str(start)) for file in of_name})


def match_files(image_ids: Iterable[str], files: Mapping[str, Path]) -> dict[str, Path]:
    """Find each image's file by :class:`FilesByName`."""
    names = FilesByName(files)
    return {image_id: names.find(image_id) for image_id in image_ids}


def _label_names(region: Any, kinds: Sequence[str]) -> list[str]:
    """A region's labels, if it is one of these kinds."""
    kind = region.get("type") if isinstance(region, Mapping) else None
    value = region.get("value") if kind in kinds else None
    names = value.get(kind) if isinstance(value, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
