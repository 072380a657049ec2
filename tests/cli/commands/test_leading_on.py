"""Every command says what comes next, and what it says works."""

import re
import shlex

import numpy as np
import pytest
from helpers.noisy import CLASSES, NoisyLearner, Start
from PIL import Image

from al_rotate.data import RotatedInstances, synthetic
from al_rotate.data.formats import dota
from al_rotate.loop import ActiveLoop, Answer
from al_rotate.workspace import Workspace

CONFIG = "rotated_rtmdet_tiny-3x-dota"


class Nobody:
    """An annotator who does not answer."""

    def push(self, query):
        pass

    def pull(self, since=None):
        return Answer(RotatedInstances.empty(classes=CLASSES))


@pytest.fixture
def unanswered(tmp_path):
    """A workspace that nobody answers."""
    files = {f"image_{k:02d}": tmp_path / f"image_{k:02d}.png" for k in range(4)}
    for file in files.values():
        Image.new("RGB", (128, 128)).save(file)
    ActiveLoop(tmp_path / "work", files, CLASSES, Start()).close()
    return tmp_path / "work"


STUDIO = "next: al-rotate studio {0}\n"
STUDIO_OR_CONNECT = f"{STUDIO}or, for a server that runs already: al-rotate connect {{0}} --url ADDRESS\n"


def test_without_an_annotator(al, unanswered):
    studio, or_connect = STUDIO.format(unanswered), STUDIO_OR_CONNECT.format(unanswered)
    code, out, _ = al("status", unanswered)
    assert (code, "queries are answered by nobody so far\n" in out) == (0, True)
    assert out.endswith(or_connect)
    assert al("collect", unanswered) == (1, "", f"al-rotate collect: no image waits for an answer; {studio}")
    assert al("train", unanswered)[::2] == (1, f"al-rotate train: nothing is labelled yet; {studio}")
    code, out, _ = al("query", unanswered, "--budget", 2)
    assert (code, out.endswith(or_connect)) == (0, True)
    assert al("collect", unanswered)[::2] == (1, f"al-rotate collect: nobody answers this workspace yet; {studio}")
    assert al("train", unanswered)[::2] == (1, f"al-rotate train: nothing of round 0 is labelled yet; {studio}")


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
    assert re.search(r"\n0 +trained +random +12 +\d+ +\d+\.\d\d +71\.2\n", re.sub(r"\n +", "\n", out))
    more = f"or, to go on with more images: al-rotate add {work} --images FOLDER\n"
    assert out.endswith(f"next: al-rotate export {work} --to dota\n{more}")
    assert al("export", work, "--to", "dota")[0] == 0
    code, again, _ = al("train", work)
    assert (code, again.endswith(more)) == (0, True)
    assert again.startswith("round 0 is trained already:\nmAP: 71.2 %\nAP/ship: 50.0 %\n")
    said = f"no unlabelled image is left in {work}: the loop is done; next: al-rotate export {work} --to dota\n"
    assert al("query", work)[2] == f"al-rotate query: {said}"


def test_a_round_queries_once(al, work):
    al("query", work, "--budget", 2)
    code, out, err = al("query", work, "--budget", 5, "--strategy", "margin")
    assert (code, out.startswith("round 0: 2 images queried, in random order:\n")) == (0, True)
    assert err == (
        "al-rotate query: warning: round 0 has queried already, and a round queries once: this is its query\n"
    )
    code, _, err = al("review", work)
    assert (code, "review after that; next: al-rotate collect" in err) == (1, True)


def test_where_all_images_were_skipped(al, unanswered):
    al("query", unanswered, "--budget", 2)
    with Workspace.open(unanswered) as workspace:
        skipped = dict.fromkeys(workspace.query(0)["image_id"], "too dark")
        workspace.record_answers(0, workspace.labels(), skipped)
    assert al("status", unanswered)[1].endswith(f"next: al-rotate undo {unanswered}\n")
    assert al("undo", unanswered)[1].endswith(STUDIO_OR_CONNECT.format(unanswered))


def test_folders_are_quoted(al, work, tmp_path):
    work.rename(tmp_path / "my work")
    (said,) = re.findall(r"next: (al-rotate .*)\n", al("status", tmp_path / "my work")[1])
    assert al(*shlex.split(said)[1:])[0] == 0


def test_late_answers_once_no_image_is_left_to_query(al, work, pool):
    """Two of twelve images are answered after the last query was trained on."""
    al("query", work)
    with ActiveLoop(work, learner=NoisyLearner(pool), annotator=Nobody()) as loop:
        queried = loop.workspace.query(0)["image_id"].tolist()
        loop.workspace.record_answers(0, pool.subset(queried[:10]))
        loop.train()
    assert al("status", work)[1].endswith(f"next: al-rotate collect {work}\n")
    code, out, _ = al("query", work)
    assert (code, re.findall(r"image_\d\d", out)) == (0, queried[10:])
    assert out.startswith("no image is left to query; 2 images of earlier rounds waiting for an answer:\n")
    code, out, _ = al("collect", work)
    assert (code, out) == (0, f"earlier rounds: 2 labelled\nnext: al-rotate train {work}\n")
    with ActiveLoop(work, learner=NoisyLearner(pool)) as loop:
        loop.train()
        assert loop.workspace.labels() == pool
        assert loop.workspace.history()["strategy"].tolist() == ["random", "late"]
        assert loop.workspace.history()["n_labelled"].tolist() == [10, 12]
    assert f"next: al-rotate export {work}" in al("status", work)[1]


@pytest.mark.mm
def test_the_printed_commands_lead_from_init_to_the_export(al, tmp_path):
    """Each command that is printed, exactly as it is, until the labels are exported."""
    from al_rotate.detection import Detector
    from al_rotate.detection.small_models import small_rtmdet

    labels = synthetic.write_dataset(tmp_path / "pool", 6, 64)
    dota.write(labels.subset(labels.image_ids[:2]), tmp_path / "known")
    options = small_rtmdet(64, iterations=2)
    Detector(CONFIG, None, "cpu", options, synthetic.CLASSES).config.dump(tmp_path / "small.py")
    start = ("--config", tmp_path / "small.py", "--device", "cpu", "--classes", ",".join(synthetic.CLASSES))
    answers = ("--simulate", tmp_path / "pool" / "labelTxt", "--labels", tmp_path / "known")
    code, out, err = al("init", tmp_path / "work", "--images", tmp_path / "pool" / "images", *start, *answers)
    assert code == 0, err
    given = []
    while "export" not in given:
        (command,) = re.findall(r"^next: al-rotate (.*)$", out, re.M)
        given.append(shlex.split(command)[0])
        code, out, err = al(*shlex.split(command))
        assert code == 0, (command, err)
    assert given == ["train", "query", "collect", "train", "export"]
    exported = dota.read(tmp_path / "work" / "export" / "dota", synthetic.CLASSES)
    assert exported.n_boxes == labels.n_boxes
    assert al("report", tmp_path / "work")[0] == 0


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
    assert f"or, with what is labelled so far: al-rotate train {tmp_path / 'work'}\n" in out
    code, out, err = al("train", tmp_path / "work")
    assert code == 0, err
    first = sorted(queried[2:])[0]
    assert f"al-rotate train: warning: 2 images asked for but not answered, e.g. {first!r}: training goes" in err
    assert out.startswith("mAP: ")
    assert f"next: al-rotate studio {tmp_path / 'work'}\n" in out  # the two that were not answered
    assert np.isfinite(float(re.search(r"last_loss: (\S+)", out)[1]))
