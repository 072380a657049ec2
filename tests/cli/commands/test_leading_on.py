"""Every command says what comes next, and what it says works."""

import re
import shlex

import numpy as np
import pytest
from helpers.noisy import CLASSES, Start
from PIL import Image

from al_rotate.data import synthetic
from al_rotate.loop import ActiveLoop
from al_rotate.workspace import Workspace

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.fixture
def unanswered(tmp_path):
    """A workspace that nobody answers."""
    files = {f"image_{k:02d}": tmp_path / f"image_{k:02d}.png" for k in range(4)}
    for file in files.values():
        Image.new("RGB", (128, 128)).save(file)
    ActiveLoop(tmp_path / "work", files, CLASSES, Start()).close()
    return tmp_path / "work"


STUDIO = "al-rotate studio {0}, or for a server that runs already: al-rotate connect {0} --url ADDRESS"


def test_without_an_annotator(al, unanswered):
    studio = STUDIO.format(unanswered)
    code, out, _ = al("status", unanswered)
    assert (code, "queries are answered by nobody so far\n" in out) == (0, True)
    assert out.endswith(f"next: {studio}\n")
    assert al("collect", unanswered) == (
        1,
        "",
        f"al-rotate collect: nothing has been asked for yet; next: {studio}\n",
    )
    code, out, _ = al("query", unanswered, "--budget", 2)
    assert (code, out.endswith(f"next: {studio}\n")) == (0, True)
    assert al("collect", unanswered)[::2] == (
        1,
        f"al-rotate collect: nobody answers this workspace yet; next: {studio}\n",
    )
    assert al("train", unanswered)[::2] == (1, f"al-rotate train: nothing is labelled yet; next: {studio}\n")


def test_when_nothing_is_left_to_label(al, work):
    """The commands that each one names, as they stand, until there is none left."""
    said = al("query", work, "--budget", 12)[1]
    assert said.endswith(f"next: al-rotate collect {work}\n")
    said = al(*shlex.split(re.search(r"next: al-rotate (.*)\n", said)[1]))[1]
    assert said == f"round 0: 12 labelled\nnext: al-rotate train {work}\n"
    (work / "made.pth").touch()
    with Workspace.open(work) as workspace:
        workspace.record_training(0, work / "made.pth", {"mAP": 0.7125, "AP/ship": 0.5})
    code, out, _ = al("status", work)
    assert code == 0
    assert re.search(r"\n0 +trained +random +12 +\d+ +\d+\.\d +71\.2\n", re.sub(r"\n +", "\n", out))
    said = re.search(r"next: (al-rotate export \S+ --to dota); no image is left to label", out)[1]
    assert al(*shlex.split(said)[1:])[0] == 0
    assert al("train", work)[:2] == (
        0,
        f"round 0 is trained already:\nmAP: 71.2 %\nAP/ship: 50.0 %\n{out.splitlines()[-1]}\n",
    )


@pytest.mark.mm
def test_train_tells_images_that_were_not_answered(al, tmp_path):
    from al_rotate.detection import Detector
    from al_rotate.detection.small_models import small_rtmdet

    labels = synthetic.write_dataset(tmp_path, 4, 64)
    detector = Detector(CONFIG, None, "cpu", small_rtmdet(64, iterations=2), synthetic.CLASSES)
    images = tmp_path / "images"
    with ActiveLoop(tmp_path / "work", images, synthetic.CLASSES, detector, test=(images, labels.subset([]))) as loop:
        loop.query()
        queried = loop.workspace.query(0)["image_id"].tolist()
        loop.workspace.record_answers(0, labels.subset(queried[:2]))
    out = al("status", tmp_path / "work")[1]
    assert f", or with what is there: al-rotate train {tmp_path / 'work'}" not in out  # nobody answers
    code, out, err = al("train", tmp_path / "work")
    assert code == 0, err
    first = sorted(queried[2:])[0]
    assert f"al-rotate train: warning: 2 images asked for but not answered, e.g. {first!r}: training goes" in err
    assert out.startswith("mAP: ")
    assert f"next: al-rotate export {tmp_path / 'work'} --to dota; no image is left to label" in out
    assert np.isfinite(float(re.search(r"last_loss: (\S+)", out)[1]))
