"""Loops that start from real images which are labelled in part, from label files of every format.

The images are in AL_ROTATE_DATA, by default ../shared/data: sets in DOTA's form, which the project does not have.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers import other_formats
from helpers.noisy import NoisyLearner, Start
from helpers.shapes import corner_distance

from al_rotate.boxes import canonical
from al_rotate.bridge import read_export
from al_rotate.data import formats, images
from al_rotate.evaluation.calibration import cross_fit
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.loop.context import build_context
from al_rotate.workspace import COST_COLUMNS
from al_rotate.workspace.held_out import held_out
from al_rotate.workspace.progress import trains_next

DATA = Path(os.environ.get("AL_ROTATE_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
SETS = {"vhr10": 40, "dota": 2, "boxes": 24, "ssdd": 24}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images in {DATA}")


def real(name):
    """Images of a set, their labels as this package reads DOTA's files, and their sizes."""
    every = images.find(DATA / name / "images")
    files = {image_id: every[image_id] for image_id in list(every)[:: max(1, len(every) // SETS[name])][: SETS[name]]}
    labels = formats.read(DATA / name / "labelTxt", images=files).labels
    return files, labels.replace(difficult=None, skipped={})


def half(labels):
    """Every other image; at least one is without an object."""
    ids = labels.image_ids[::2].tolist()
    bare = labels.subset(ids)
    keep = np.ones(bare.n_boxes, bool)
    keep[bare.offsets[-2] :] = False  # of the last image
    return bare.where(keep) if bare.counts.all() and len(ids) > 1 else bare


def expected(labels, format):
    if format not in other_formats.LEVEL:
        return labels.boxes
    return canonical(np.column_stack([labels.boxes[:, :4], np.zeros(labels.n_boxes)]))


def read(source, format, files):
    if format == "label-studio":
        return read_export(source, images_of_labels=files)
    assert formats.guess(source).format == format
    return formats.read(source, images=files)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("format", other_formats.WRITERS)
def test_real_labels_of_every_format(tmp_path, name, format):
    files, labels = real(name)
    given = half(labels)
    source = other_formats.WRITERS[format](given, tmp_path / "labels", files)
    imported = read(source, format, files)
    assert imported.format == format
    got = imported.labels.subset(given.image_ids)
    assert got.skipped == imported.labels.skipped == {}
    used = sorted(set(np.array(given.classes)[given.labels]))
    assert set(used) <= set(got.classes)
    assert [got.classes[k] for k in got.labels] == [given.classes[k] for k in given.labels]
    assert got.offsets.tolist() == given.offsets.tolist()
    assert got.image_sizes.tolist() == [list(images.size(files[i])) for i in given.image_ids]
    # Label Studio's percents are of the numbers that a page shows.
    assert corner_distance(expected(given, format), got.boxes).max(initial=0) < 0.01


@pytest.mark.parametrize("format", other_formats.WRITERS)
def test_a_loop_goes_on_from_them(tmp_path, format):
    """They are trained on first; then they count in everything, and cost nothing."""
    files, truth = real("vhr10")
    given = half(truth)
    source = other_formats.WRITERS[format](given, tmp_path / "labels", files)
    labels = read(source, format, files).labels
    learner = NoisyLearner(truth)
    arguments = {"classes": truth.classes, "learner": learner, "annotator": SimulatedAnnotator(truth), "budget": 4}
    with ActiveLoop(tmp_path / "work", files, labels=labels, **arguments) as loop:
        workspace = loop.workspace
        assert workspace.ids("labelled") == sorted(given.image_ids)
        assert workspace.counts()["unlabelled"] == len(files) - len(given)
        ledger = workspace.ledger()
        assert ledger[[*COST_COLUMNS]].values.tolist() == [["imported", 0, 0, 0, 0, 0]] * len(given)
        assert ledger.set_index("image_id")["n_boxes"].to_dict() == dict(
            zip(given.image_ids, given.counts, strict=True)
        )
        of_class = np.bincount(workspace.labels().labels, minlength=len(truth.classes))
        assert of_class.tolist() == np.bincount(given.labels, minlength=len(truth.classes)).tolist()
        assert trains_next(workspace)
        loop.train()
        assert sorted(learner.trained[0][2].image_ids) == sorted(given.image_ids)
        # Coverage and quotas see them, as labels and in features.
        needs = frozenset({"labels", "labelled_features"})
        context = build_context(workspace, learner, workspace.begin_round(), loop._weights_to_query(), needs)
        assert context.labels == workspace.labels()
        assert len(context.features) == len(given)
        asked = set(loop.query()["image_id"])
        assert not asked & set(given.image_ids)
        loop.collect()
        loop.train()
        assert sorted(learner.trained[1][2].image_ids) == sorted({*given.image_ids, *asked})
        history = workspace.history()
        assert history[["strategy", "n_labelled"]].values.tolist() == [
            ["imported", len(given)],
            ["pal", len(given) + 4],
        ]
        assert history["cost"].tolist()[0] == 0


def test_labels_that_are_added_between_rounds_calibrate(tmp_path):
    """Detections from before a training on them are held out, so that scores are calibrated by cross-fitting."""
    files, truth = real("boxes")
    first, later = half(truth), truth.subset(truth.image_ids[1::2][:3])
    with ActiveLoop(
        tmp_path / "work",
        files,
        truth.classes,
        Start(taught=4, classes=truth.classes),
        learner=NoisyLearner(truth),
        annotator=SimulatedAnnotator(truth),
        labels=first,
        budget=2,
    ) as loop:
        asked = set(loop.query()["image_id"])
        source = other_formats.WRITERS["cvat"](later, tmp_path / "labels", files)
        loop.add_labels(formats.read(source, images=files).labels)
        loop.collect()
        loop.train()
        found = held_out(loop.workspace, loop.workspace.labels())
        assert {*later.image_ids, *asked} == set(found.image_ids)
        probabilities = cross_fit(found, loop.workspace.labels().subset(found.image_ids))
        assert probabilities.shape == (found.n_boxes,)
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
