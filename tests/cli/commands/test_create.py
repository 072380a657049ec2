"""init: a workspace from images, a config and what there is already."""

import numpy as np
import pytest
from helpers import label_files

from al_rotate import Schedule, boxes
from al_rotate.evaluation.pseudo_labels import PseudoLabels
from al_rotate.loop import ActiveLoop
from al_rotate.loop.settings import LoopSettings
from al_rotate.workspace import Workspace

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.fixture
def init(al, tmp_path):
    """Run init on the three images with these further arguments."""
    images = label_files.images(tmp_path / "pool")

    def run(*arguments, work=tmp_path / "work"):
        return al("init", work, "--images", images, "--config", CONFIG, "--device", "cpu", *arguments)

    return run


def test_the_classes_are_printed_and_the_next_command(al, tmp_path, monkeypatch):
    """The workspace is called as it was typed."""
    label_files.images(tmp_path / "pool")
    monkeypatch.chdir(tmp_path)
    options = ("--images", "pool", "--config", CONFIG, "--device", "cpu", "--classes", "truck, ship")
    code, out, _ = al("init", "work", *options)
    assert code == 0
    assert out.startswith("work: 3 images, 3 not labelled yet\n2 classes: truck, ship\nnext: al-rotate studio work\n")
    assert out.endswith("al-rotate connect work --url ADDRESS\n")


@pytest.mark.parametrize("classes", ["clases.txt", "ship,ship", "dota-v9", ""])
def test_classes_that_cannot_be_meant(init, tmp_path, classes):
    code, out, err = init("--classes", classes)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("kind", ["test", "val"])
def test_sets_to_measure_on(init, tmp_path, kind):
    images = label_files.images(tmp_path / "other")
    labels = label_files.dota(tmp_path)
    code, _, err = init("--classes", "ship,truck", f"--{kind}-images", images)
    assert (code, f"expected --{kind}-images and --{kind}-labels together" in err) == (1, True)
    code, out, err = init("--classes", "ship,truck", f"--{kind}-images", images, f"--{kind}-labels", labels)
    assert code == 0
    assert f"{labels}: dota: 2 images, 2 boxes\n" in out
    name = {"test": "test set", "val": "validation set"}[kind]
    assert f"warning: 1 of 3 images of the {name} have no labels in {labels} and are not measured on, e.g. 'c'" in err


@pytest.mark.parametrize("format", label_files.WRITERS)
def test_start_from_labels(al, init, tmp_path, format):
    """A pool that is labelled in part: one image with two objects, one without any, one not labelled."""
    source = label_files.WRITERS[format](tmp_path)
    work = tmp_path / "work"
    code, out, err = init("--labels", source)
    assert code == 0, err
    assert f"{source}: {format}: 2 images, 2 boxes\n" in out
    assert format == "label-studio" or f"  read as {format}, for " in out
    assert f"{work}: 3 images, 1 not labelled yet, 2 labelled\n2 classes: ship, truck\n" in out
    assert out.endswith(f"next: al-rotate train {work}\n")
    with Workspace.open(work, read_only=True) as workspace:
        labels, ledger = workspace.labels(), workspace.ledger()
        assert workspace.ids("unlabelled") == ["c"]
    assert labels.image_ids.tolist() == ["a", "b"]
    assert labels.labels.tolist() == [0, 1]
    assert labels.counts.tolist() == [2, 0]
    rotated = format not in label_files.HORIZONTAL
    got, expected = (boxes.to_corners(np.asarray(b, float)) for b in (labels.boxes, label_files.BOXES[rotated]))
    assert np.linalg.norm(got[:, :, None] - expected[:, None], axis=-1).min(axis=2).max() < 0.02
    assert ledger["annotator"].tolist() == ["imported"] * 2
    assert ledger["seconds"].tolist() == [0, 0]


def test_classes_that_only_the_checkpoint_knows(init, tmp_path):
    """A few labels do not show every class that a detector knows: going without the others is told."""
    from al_rotate.detection import Detector

    checkpoint = Detector(CONFIG, None, "cpu", classes=["truck", "boat", "pier"]).save(tmp_path / "mine.pth")
    arguments = ("--labels", label_files.dota(tmp_path), "--checkpoint", checkpoint, "--map", "boat=ship")
    code, out, err = init(*arguments)
    assert (code, "2 classes: ship, truck\n" in out) == (0, True)
    assert f"{checkpoint} detects pier, too, which the labels do not name" in err
    assert f"delete {tmp_path / 'work'} and say --classes truck,ship,pier\n" in err
    assert "too, which" not in init(*arguments, "--classes", "ship,truck")[2]


def test_without_labels_the_classes_are_those_of_the_checkpoint(init, tmp_path):
    from al_rotate.detection import Detector

    checkpoint = Detector(CONFIG, None, "cpu", classes=["truck", "boat"]).save(tmp_path / "mine.pth")
    code, out, _ = init("--checkpoint", checkpoint, "--map", "boat=ship")
    assert (code, "2 classes: truck, ship\n" in out) == (0, True)
    code, _, err = init()
    assert (code, "expected --classes: dota-v1" in err) == (1, True)


def test_labels_are_added_later(al, init, tmp_path):
    work, second = tmp_path / "work", tmp_path / "second"
    assert init("--classes", "truck,ship")[0] == 0  # not the order of the files
    source = label_files.dota(tmp_path)
    code, out, err = al("add", work, "--labels", source)
    assert (code, err) == (0, "")
    assert out.endswith(f"1 not labelled yet, 2 labelled\nnext: al-rotate train {work}\n")
    with Workspace.open(work, read_only=True) as workspace:
        assert workspace.labels().labels.tolist() == [1, 0]
    ship = "10 10 20 10 20 20 10 20 ship 0"
    code, out, err = al("add", work, "--labels", label_files.texts(second, ".txt", {"c": ship, "z": ship}))
    assert (code, err) == (0, "")
    assert "left out: z: not among the images\n" in out
    assert "\n3 labelled\n" in out
    code, _, err = al("add", work, "--labels", label_files.texts(second, ".txt", {"c": ship.replace("ship", "boat")}))
    assert (code, "boat" in err) == (1, True)
    code, _, err = al("add", tmp_path / "none", "--labels", second)
    assert (code, "make one with: al-rotate init" in err) == (1, True)


def test_a_loop_trains_on_the_labels_first(al, tmp_path):
    """From label files to a checkpoint, then the next query."""
    from al_rotate.detection import Detector
    from al_rotate.detection.small_models import small_rtmdet

    work, images = tmp_path / "work", label_files.images(tmp_path / "pool")
    detector = Detector(CONFIG, None, "cpu", small_rtmdet(64, iterations=2), label_files.CLASSES)
    ActiveLoop(work, images, label_files.CLASSES, detector).close()
    assert al("add", work, "--labels", label_files.coco(tmp_path))[0] == 0
    code, out, err = al("train", work)
    assert code == 0, err
    assert f"next: al-rotate studio {work}" in out
    assert (work / "rounds" / "000" / "training" / "finetuned.pth").exists()
    code, out, _ = al("query", work)
    assert (code, "round 1: 1 image queried" in out) == (0, True)
    assert "imported" in al("status", work)[1]


def test_the_budget_is_kept(init, al, tmp_path):
    arguments = ("--classes", "ship", "--budget", "2")
    for _ in range(2):  # again, as after a kill
        assert init(*arguments)[0] == 0
    code, _, err = init("--classes", "ship", "--budget", "3")
    assert (code, "there already, with Budget(images=2): give --budget to al-rotate query" in err) == (1, True)
    assert "round 0: 2 images queried" in al("query", tmp_path / "work")[1]


def test_how_to_train_is_kept(al, init, tmp_path):
    options = ("--classes", "ship", "--schedule", "per_image=3", "least=9", "--pseudo-labels", "--cold-start")
    for _ in range(2):  # again, as after a kill
        assert init(*options)[0] == 0
    with Workspace.open(tmp_path / "work", read_only=True) as workspace:
        settings = LoopSettings.from_json(workspace.settings)
    assert settings.schedule == Schedule(per_image=3, least=9)
    assert (settings.pseudo_labels, settings.warm_start) == (PseudoLabels(), False)
    code, _, err = init(*options[:3], "per_image=4", *options[4:])
    assert (code, "is there already, with another --schedule, --pseudo-labels or --cold-start" in err) == (1, True)
    code, _, err = al("train", tmp_path / "work", "--schedule", "per_image=0")
    assert (code, "per_image above 0, got 0.0" in err) == (1, True)


def test_a_published_config_is_trained_by_a_schedule_unless_told_otherwise(init, tmp_path):
    for k, (options, schedule) in enumerate(
        (
            ((), Schedule()),
            (("--cfg-options", "train_cfg.max_epochs=12"), None),
            (("--cfg-options", "optim_wrapper.optimizer.lr=0.001"), Schedule()),
            (("--schedule", "config"), None),
        )
    ):
        work = tmp_path / f"work{k}"
        for _ in range(2):  # again, as after a kill
            assert init("--classes", "ship", *options, work=work)[0] == 0
        with Workspace.open(work, read_only=True) as workspace:
            assert LoopSettings.from_json(workspace.settings).schedule == schedule


def test_a_schedule_says_how_long_the_training_is(al, tmp_path):
    from al_rotate.detection import Detector
    from al_rotate.detection.small_models import small_rtmdet

    work, images = tmp_path / "work", label_files.images(tmp_path / "pool")
    detector = Detector(CONFIG, None, "cpu", small_rtmdet(64), label_files.CLASSES)
    ActiveLoop(work, images, label_files.CLASSES, detector, schedule=Schedule(least=2)).close()
    assert al("add", work, "--labels", label_files.coco(tmp_path))[0] == 0
    options = ("--schedule", "per_image=1", "least=3")
    said = "training: 3 iterations on 2 labelled images (--schedule config: as the config says)\n"
    code, out, err = al("train", work, *options)
    assert (code, out.startswith(said)) == (0, True), out + err
    assert said not in al("train", work, *options)[1]  # it is trained already
