"""Label Studio's JSON export as labels that exist already: read like the label files of other tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..data import images
from ..data.formats.matching import match_images, note_oddities
from ..data.formats.reading import Imported, Notes
from .conversion.annotations import Reading, read
from .conversion.export_file import iterate_tasks
from .conversion.options import ReadOptions
from .survey import FilesByName, survey_export

FORMAT = "label-studio"
_ACTIONS = {
    "quarantined": "regions for which their image is held back",
    "dropped": "regions dropped",
    "noted": "remarks",
    "conflict": "tasks with several answers, of which one counts",
    "left out": "tasks left out",
}


def read_export(
    export_json: str | Path,
    classes: Sequence[str] | None = None,
    images_of_labels: str | Path | Iterable[str | Path] | Mapping[str, str | Path] | None = None,
    options: ReadOptions | None = None,
) -> Imported:
    """Read Label Studio's JSON export as :func:`al_rotate.data.formats.read` reads other labels.

    Submitted annotations are labels, without a box too. Tasks that were skipped, that have a draft alone or that nobody
    has opened are not labelled.

    Args:
        export_json: the file.
        classes: class names in order; None takes those of the options, else the labels of the file, sorted.
        images_of_labels: a folder, files, or image id -> file. The labels get their ids and sizes; labels of other
            images are left out and noted. None keeps the names in the tasks.
        options: how to read; None takes the defaults of :class:`~al_rotate.bridge.conversion.options.ReadOptions`.

    Returns:
        The labels, and notes on what was odd. Images held back are in ``labels.skipped``, with what to correct.

    Raises:
        FileNotFoundError: without the file, or images.
        ValueError: for a file that is no JSON export, or without labels that can be taken over.
    """
    path, notes = Path(export_json), Notes()
    options = ReadOptions.merged(options, classes, {})
    survey = survey_export(path, options.image_key, options.polygons)
    to_name = options.to_name or survey.image_object()
    names = options.classes or tuple(survey.classes(to_name, options.rename or {}))
    options = replace(options, classes=names, image_key=survey.image_key, to_name=to_name)
    files = None if images_of_labels is None else images.resolve(images_of_labels)
    own: dict[str, Path] = {}
    if files is not None:
        same_names = survey.same_names(files)
        own = _own_files({*survey.suffixes, *same_names.values()}, files)
        sizes = {**(options.sizes or {}), **_sizes(own)}
        options = replace(options, image_ids=same_names, sizes=sizes)
    odd: list[str] = []
    reading = read(iterate_tasks(path, odd), options=options)
    for entry in odd:
        notes.add(f"left out: {entry}")
    _note(reading, notes)
    if options.classes is names and classes is None:
        notes.add(f"classes, sorted: {', '.join(names)}")
    labels = reading.labels.replace(skipped=reading.quarantined)
    if files is not None:
        ids = {file: image_id for image_id, file in files.items()}
        renamed = [ids[own[image_id]] if image_id in own else image_id for image_id in labels.image_ids]
        labels = match_images(labels.replace(image_ids=renamed), files, notes, path)
    if not len(labels):
        reason = next(iter(labels.skipped.values()), "nobody has submitted an annotation")
        raise ValueError(f"{path}: expected labels that can be taken over, got none: {reason}")
    note_oddities(labels, notes)
    return Imported(labels, FORMAT, tuple(notes))


def _own_files(image_ids: Iterable[str], files: Mapping[str, Path]) -> dict[str, Path]:
    """Find the files of the images that have one, and one that no other image claims."""
    own: dict[str, Path] = {}
    names = FilesByName(files)
    for image_id in image_ids:
        try:
            own[image_id] = names.find(image_id)
        except ValueError:
            continue  # left out, and told, when the labels are matched with the images
    claims = Counter(own.values())
    return {image_id: file for image_id, file in own.items() if image_id in files or claims[file] == 1}


def _sizes(files: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    sizes = {}
    for image_id, file in files.items():
        try:
            sizes[image_id] = images.size(file)
        except images.UnreadableImage:
            continue  # left out, and told, when the labels are matched with the images
    return sizes


def _note(reading: Reading, notes: Notes) -> None:
    """Note what the account says, kind by kind."""
    waiting = [image_id for image_id in reading.unanswered if image_id not in reading.quarantined]
    notes.add("tasks without a submitted annotation, taken as not labelled", "".join(waiting[:1]), len(waiting))
    notes.add("tasks that were skipped, taken as not labelled", "".join([*reading.skipped][:1]), len(reading.skipped))
    for row in reading.account.to_dict("records"):
        if row["action"] not in ("skipped", "draft"):
            notes.add(
                _ACTIONS.get(row["action"], row["action"]), f"task {row['task']} ({row['image_id']}): {row['detail']}"
            )
