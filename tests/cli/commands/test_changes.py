"""The commands that change what a workspace works on; what each does is tested where it lives."""

import pytest
from helpers import label_files
from helpers.noisy import CLASSES
from PIL import Image

from al_rotate.loop import ActiveLoop
from al_rotate.workspace import Workspace

CONFIG = "rotated_rtmdet_tiny-3x-dota"


def labels_and_counts(work):
    with Workspace.open(work, read_only=True) as workspace:
        return workspace.labels(), workspace.counts()


def test_add_images_with_labels(al, work, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for name in ("x", "y"):
        Image.new("RGB", (128, 128)).save(more / f"{name}.png")
    labels = label_files.texts(tmp_path / "labels", ".txt", {"x": "10 10 30 10 30 20 10 20 plane 0"})
    code, out, err = al("add", work, "--images", more, "--labels", labels)
    assert (code, err) == (0, "")
    assert out.startswith(f"{more}: 2 images added\n{labels}: dota: 1 image, 1 box\n")
    assert f"13 not labelled yet, 1 labelled\nnext: al-rotate train {work}\n" in out
    labelled, _ = labels_and_counts(work)
    assert labelled.image_ids.tolist() == ["x"]
    assert labelled.boxes.tolist() == [[20, 15, 20, 10, 0]]
    assert labelled.labels.tolist() == [CLASSES.index("plane")]
    assert al("add", work, "--images", more)[1].startswith(f"{more}: 0 images added\n")
    assert al("add", work)[::2] == (1, "al-rotate add: expected --images or --labels, or both\n")
    out = al("status", work)[1]
    assert "changes besides the rounds:\n" in out
    assert out.index(" add images: ") < out.index(" add labels: ")


def test_remove_images(al, work):
    code, out, err = al("remove", work, "image_00", "image_03")
    assert (code, err) == (0, "")
    assert out == f"2 images removed\n10 not labelled yet\nnext: al-rotate query {work} --budget 50\n"
    code, _, err = al("remove", work, "image_99")
    assert (code, "image_99" in err) == (1, True)


def test_unskip(al, work):
    al("query", work, "--budget", 3)
    with Workspace.open(work) as workspace:
        skipped = workspace.query(0)["image_id"].tolist()
        workspace.record_answers(0, workspace.labels(), skipped=dict.fromkeys(skipped, "too dark"))
    code, out, err = al("unskip", work, skipped[0])
    assert (code, err) == (0, "")
    assert out.startswith("1 image can be queried again\n10 not labelled yet, 2 skipped\n")
    assert al("unskip", work)[1].startswith("2 images can be queried again\n12 not labelled yet\n")
    code, _, err = al("unskip", work, "image_00")
    assert (code, "expected skipped images" in err) == (1, True)


def test_undo(al, work):
    al("query", work, "--budget", 3)
    al("collect", work)
    assert labels_and_counts(work)[1]["labelled"] == 3
    code, out, err = al("undo", work)
    assert (code, err) == (0, "")
    assert out.startswith(f"round 0 is undone; its files stay in {work / 'rounds' / '000'}\n12 not labelled yet\n")
    assert "round 0 is undone\n" in al("status", work)[1]
    assert al("undo", work)[0] == 1
    code, out, _ = al("query", work, "--budget", 2)
    assert (code, out.startswith("round 1: 2 images queried")) == (0, True)


def test_classes(al, work):
    assert al("classes", work)[1].startswith("3 classes: ship, plane, court\n")
    assert al("classes", work, "--add", "crane")[1].startswith("4 classes: ship, plane, court, crane\n")
    assert al("classes", work, "--rename", "court=field")[1].startswith("4 classes: ship, plane, field, crane\n")
    merge = ("--merge", "ship", "plane", "--into", "vehicle")
    assert al("classes", work, *merge)[1].startswith("3 classes: vehicle, field, crane\n")
    assert al("classes", work, *merge[:3])[::2] == (1, "al-rotate classes: expected --merge and --into together\n")
    code, _, err = al("classes", work, "--add", "crane")
    assert (code, "crane" in err) == (1, True)
    assert al("classes", work, "--add", "a", "--rename", "b=c")[0] == 2
    changes = al("status", work)[1]
    assert [what in changes for what in ("add class", "rename class", "merge classes")] == [True] * 3


def test_another_test_set(al, work, tmp_path):
    images = label_files.images(tmp_path / "test")
    labels = label_files.texts(tmp_path / "labels", ".txt", {"a": "10 10 30 10 30 20 10 20 ship 0", "b": ""})
    code, out, err = al("set", work, "--test-images", images, "--test-labels", labels)
    assert code == 0
    assert "set test: a test set of 2 images with 1 box" in out
    assert "warning: 1 of 3 images of the test set have no labels" in err
    assert (work / "test-001.parquet").is_file()
    code, _, err = al("set", work, "--val-images", images)
    assert (code, "expected --val-images and --val-labels together" in err) == (1, True)
    assert al("set", work)[::2] == (1, "al-rotate set: expected a test set, a validation set, or --config\n")
    assert "--config with --checkpoint" in al("set", work, "--checkpoint", "x.pth")[2]


@pytest.mark.mm
def test_another_detector(al, tmp_path):
    from al_rotate.detection import Detector
    from al_rotate.detection.small_models import small_rtmdet

    work, images = tmp_path / "work", label_files.images(tmp_path / "pool")
    detector = Detector(CONFIG, None, "cpu", small_rtmdet(64, iterations=2), label_files.CLASSES)
    ActiveLoop(work, images, label_files.CLASSES, detector).close()
    other = Detector(CONFIG, None, "cpu", classes=["truck", "boat"]).save(tmp_path / "other.pth")
    arguments = ("--config", CONFIG, "--checkpoint", other, "--map", "boat=ship", "--device", "cpu")
    code, out, err = al("set", work, *arguments)
    assert code == 0, err
    assert f"set detector: config-detector-001.py, weights of {other}" in out
    assert al("query", work, "--budget", 1)[0] == 0
    with ActiveLoop(work) as loop:
        assert loop.settings.config == "config-detector-001.py"
        assert not loop.settings.untrained_start
