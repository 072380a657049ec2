import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.noisy import CLASSES, NoisyLearner, Start, labels_of
from PIL import Image

import al_rotate
from al_rotate import cli
from al_rotate.cli import arguments as _cli_arguments
from al_rotate.cli import parser
from al_rotate.data import synthetic
from al_rotate.data.formats import dota
from al_rotate.data.instances import RotatedInstances
from al_rotate.loop.active_loop import ActiveLoop
from al_rotate.loop.simulated import SimulatedAnnotator
from al_rotate.sampling import rank

POOL = labels_of(12)
CONFIG = "rotated_rtmdet_tiny-3x-dota"
COMMANDS = (
    "init predict tile rank query review collect train status report demo studio connect serve convert export doctor"
).split()


@pytest.fixture
def al(capsys):
    """Run a command: its exit code, and what it printed."""

    def run(*words):
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as exit:  # argparse's own
            code = exit.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def work(tmp_path):
    """A workspace whose first query needs no detector, and whose images are there."""
    files = {image_id: tmp_path / f"{image_id}.png" for image_id in POOL.image_ids}
    for file in files.values():
        Image.new("RGB", (128, 128), (90, 120, 60)).save(file)
    ActiveLoop(tmp_path / "work", files, CLASSES, Start(), annotator=SimulatedAnnotator(POOL), seed=3).close()
    return tmp_path / "work"


@pytest.fixture
def detections(tmp_path):
    scores = np.random.default_rng(0).random(POOL.n_boxes).astype(np.float32)
    found = POOL.replace(scores=scores, image_sizes=None)
    for k in range(2):
        found.subset(found.image_ids[k::2]).save(tmp_path / "detections" / f"{k}.parquet")
    return tmp_path / "detections"


# Words.


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_can_be_typed(al, command):
    code, out, err = al(command, "--help")
    assert (code, err) == (0, "")
    example = re.search(r"example:\n  (al-rotate .*)\n", out).group(1)
    words = shlex.split(example)[1:]
    if "--cfg-options" in words:
        pytest.importorskip("mmengine")
    parsed = parser._parser().parse_args(words)
    assert parsed.command == command


def test_help_lists_every_command(al):
    code, out, _ = al("--help")
    assert code == 0
    assert re.findall(r"^    (\w+) +[A-Z]", out, re.M) == COMMANDS


def test_version(al):
    assert al("--version") == (0, f"{al_rotate.__version__}\n", "")


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["query"], ["rank"], ["init", "work"], ["query", "work", "--images", "many"]]
)
def test_words_it_does_not_understand(al, words):
    code, out, err = al(*words)
    assert (code, out) == (2, "")
    assert "usage: al-rotate" in err


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "al_rotate", "status", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        r"al-rotate status: expected a workspace, .*nowhere is no folder; make one with: .*\n", done.stderr
    )


# The commands that need no detector.


def test_a_round_by_commands(al, work):
    code, out, err = al("status", work)
    assert (code, err) == (0, "")
    assert out == f"12 unlabelled, 0 queried, 0 labelled, 0 skipped\nnext: al-rotate query {work}\n"

    code, out, err = al("query", work, "--images", 4)
    assert (code, err) == (0, "")
    selection = work / "rounds" / "000" / "selection.csv"
    asked = pd.read_csv(selection)["image_id"].tolist()
    assert "round 0: 4 images asked for" in out
    assert out.endswith(f"all of them: {selection}\n")
    assert re.findall(r"image_\d\d", out) == asked
    assert al("query", work, "--images", 4) == (0, out, "")  # asking again is the same query
    assert al("status", work)[1].endswith(f"next: al-rotate collect {work}\n")

    code, out, err = al("collect", work)
    assert (code, out, err) == (0, f"4 labelled\nnext: al-rotate train {work}\n", "")
    assert al("collect", work)[:2] == (0, out)

    with ActiveLoop(work, learner=NoisyLearner(POOL)) as loop:
        assert loop.workspace.labels() == POOL.subset(sorted(asked))
        loop.train()
        code, out, err = al("status", work)  # while the loop has it
    assert (code, err) == (0, "")
    assert "8 unlabelled, 0 queried, 4 labelled, 0 skipped" in out
    assert re.search(r"0 +trained +random +4 +\d+ +\d+\.\d{3}", out)
    assert out.endswith(f"next: al-rotate query {work}\n")


def test_report(al, work, tmp_path):
    al("query", work, "--images", 3)
    code, out, err = al("report", work)
    assert (code, out, err) == (0, f"{work / 'report.html'}\n", "")
    assert "Round 0: 3 of 12 images" in (work / "report.html").read_text()
    code, out, _ = al("report", work, "--out", tmp_path / "elsewhere.html")
    assert (code, out) == (0, f"{tmp_path / 'elsewhere.html'}\n")
    assert (tmp_path / "elsewhere.html").exists()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--strategy", "margin", "--options", "how=sum"], {"strategy": "margin", "how": "sum"}),
        (["--options", "how=top-k", "k=2", "empty=first"], {"how": "top-k", "k": 2, "empty": "first"}),
        (["--options", "use_class_scores=false"], {"use_class_scores": False}),
        (["--strategy", "mus-cdb", "--images", "4"], {"strategy": "mus-cdb", "budget": 4}),
    ],
)
def test_rank_is_al_rank(al, detections, tmp_path, words, options):
    expected = rank(RotatedInstances.load(detections), **options)
    code, out, err = al("rank", detections, *words, "--out", tmp_path / "ranking.csv", "--top", 3)
    assert (code, err) == (0, "")
    written = pd.read_csv(tmp_path / "ranking.csv")
    pd.testing.assert_frame_equal(written, expected.replace("", np.nan), check_dtype=False)
    assert out == expected.head(3).to_string(index=False) + "\n"


def test_rank_at_random_has_a_seed(al, detections):
    images = RotatedInstances.load(detections)
    for seed in (0, 5):
        expected = rank(images, "random", np.random.default_rng(seed)).head(12).to_string(index=False)
        assert al("rank", detections, "--strategy", "random", "--seed", seed, "--top", 12)[1] == expected + "\n"


# What goes wrong is one line on standard error.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "{}/none"], r"expected a workspace, .*/none is no folder; make one with: al-rotate init .*"),
        (["report", "{}/none"], r"expected a workspace, .*"),
        (["query", "{}/none"], r".*/none is no workspace yet: give images, classes and a detector to make one"),
        (["rank", "{}/none"], r"expected a Parquet file or a folder of them, got .*/none"),
        (["rank", "{}/image_00.png"], r"expected a Parquet file of RotatedInstances, got .*"),
        (["rank", "{}/detections", "--strategy", "entropi"], r"expected a strategy among .* Did you mean 'entropy'\?"),
        (["rank", "{}/detections", "--options", "k"], r"expected --options as KEY=VALUE, got 'k'"),
        (["rank", "{}/detections", "--options", "hows=sum"], r"expected options of 'entropy' among .*, got hows"),
        (["query", "{}/work", "--images", "0"], r"expected a budget of at least one of images, got 0"),
        (["query", "{}/work", "--strategy", "entropi"], r"expected a strategy among .*"),
        (["collect", "{}/work"], r"round 0 has not queried yet: query\(\) first"),
        (["train", "{}/work"], r"nothing is labelled yet: query\(\) and collect\(\) first"),
    ],
)
def test_errors(al, work, detections, words, message):
    code, out, err = al(*(word.format(work.parent) for word in words))
    assert (code, out) == (1, "")
    assert re.fullmatch(f"al-rotate {words[0]}: {message}\n", err), err


def test_a_workspace_that_is_held(al, work):
    with ActiveLoop(work, learner=NoisyLearner(POOL)):
        code, out, err = al("query", work)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"al-rotate query: .* is held by process \d+ .*al-rotate status .*\n", err)
    assert al("query", work)[0] == 0


def test_interrupted(al, detections, monkeypatch):
    def pressed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(parser, "rank", pressed)  # where a user might lose patience
    assert al("rank", detections) == (130, "", "interrupted; the same command goes on from here\n")


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "mmcv", "mmengine", "mmdet", "mmrotate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from al_rotate.cli import main
work = sys.argv[1]
print([main(words) for words in (["query", work, "--images", "2"], ["collect", work], ["train", work],
                                 ["train", work, "--cfg-options", "a=1"], ["status", work])])
"""


def test_without_torch_all_but_training_works_and_that_names_the_doctor(work):
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(work)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 0, 1, 1, 0]"
    first, hint, second, _ = done.stderr.splitlines()
    assert re.fullmatch(r"al-rotate train: No module named '(torch|mmengine).*'", first)
    assert hint == "run `al-rotate doctor`: it names what is missing"
    assert second == "al-rotate: No module named 'mmengine'"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, None),
        ("dota-v1", dota.DOTA_V1),
        ("dota-v1.5", dota.DOTA_V15),
        ("dota-v2", dota.DOTA_V2),
        ("ship, plane,small vehicle", ("ship", "plane", "small vehicle")),
    ],
)
def test_classes(given, names):
    assert _cli_arguments.as_classes(given) == names


def test_classes_from_a_file(tmp_path):
    (tmp_path / "classes.txt").write_text("ship\nsmall vehicle\n\n")
    assert _cli_arguments.as_classes(str(tmp_path / "classes.txt")) == ("ship", "small vehicle")


def test_options_are_values():
    given = ["how=top-k", "k=3", "share=0.5", "tiny=1e-3", "yes=True", "no=false", "none=null", "a=b=c"]
    expected = {"how": "top-k", "k": 3, "share": 0.5, "tiny": 1e-3, "yes": True, "no": False, "none": None, "a": "b=c"}
    assert _cli_arguments.as_options(given) == expected


# Those that need one.


@pytest.mark.mm
def test_from_images_to_a_query_by_commands(al, tmp_path):
    for part, n in (("pool", 6), ("test", 2)):
        synthetic.write_dataset(tmp_path / part, n, 64, prefix=part)
    init = ["init", tmp_path / "work", "--images", tmp_path / "pool" / "images", "--config", CONFIG, "--seed", 4]
    test = ["--test-images", tmp_path / "test" / "images", "--test-labels", tmp_path / "test" / "labelTxt"]
    assert al(*init)[::2] == (
        1,
        "al-rotate init: expected --classes (dota-v1, a list, or a file with one name a line)\n",
    )
    simulated = [*init, "--simulate", tmp_path / "pool" / "labelTxt", "--classes", ",".join(synthetic.CLASSES)]
    assert "--test-images and --test-labels together" in al(*simulated, *test[:2])[2]
    assert not (tmp_path / "work").exists()
    made = [*simulated, *test, "--device", "cpu", "--strategy", "margin"]
    assert al(*made)[:2] == (
        0,
        f"{tmp_path / 'work'}: 6 images, 5 classes\nnext: al-rotate query {tmp_path / 'work'} --images 50\n",
    )
    assert al(*made)[0] == 0  # again: nothing new
    code, _, err = al(*made, "--cfg-options", "model.test_cfg.score_thr=0.3")
    assert code == 1
    assert "was made with a detector of another config" in err
    assert al("query", tmp_path / "work", "--images", 2)[0] == 0
    assert al("collect", tmp_path / "work")[:2] == (0, f"2 labelled\nnext: al-rotate train {tmp_path / 'work'}\n")
    with ActiveLoop(tmp_path / "work") as loop:
        settings = loop.settings
    assert (settings.strategy, settings.seed, settings.device, settings.untrained_start) == ("margin", 4, "cpu", True)


@pytest.mark.mm
def test_predict(al, tmp_path):
    synthetic.write_dataset(tmp_path, 2, 64)
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    small = ["test_dataloader.dataset.pipeline.1.scale=(64,64)", "test_dataloader.dataset.pipeline.2.size=(64,64)"]
    code, out, err = al(
        "predict", tmp_path / "images", "--config", CONFIG, "--device", "cpu", "--out", tmp_path / "detections",
        "--class-scores", "--features", "--batch-size", 2, "--workers", 1, "--score-thr", 0.2,
        "--cfg-options", *small,
    )  # fmt: skip
    assert code == 0, err
    found = RotatedInstances.load(tmp_path / "detections")
    assert found.image_ids.tolist() == ["scene_0000", "scene_0001"]
    told = f"{tmp_path / 'detections'}: 2 images, {found.n_boxes} boxes, 1 images could not be read\n  broken: "
    assert told in out
    assert found.classes == dota.DOTA_V1
    assert found.class_scores.shape == (found.n_boxes, 15)
    assert found.image_features.shape == (2, found.box_features.shape[1])


@pytest.mark.mm
def test_predict_on_scenes(al, tmp_path):
    synthetic.write_dataset(tmp_path, 2, 96)
    small = ["test_dataloader.dataset.pipeline.1.scale=(64,64)", "test_dataloader.dataset.pipeline.2.size=(64,64)"]
    code, out, err = al(
        "predict", tmp_path / "images", "--config", CONFIG, "--device", "cpu", "--out", tmp_path / "detections",
        "--tile", 64, "--overlap", 16, "--scales", 1, 0.5, "--score-thr", 0.2, "--cfg-options", *small,
    )  # fmt: skip
    assert code == 0, err
    found = RotatedInstances.load(tmp_path / "detections")
    assert found.image_ids.tolist() == ["scene_0000", "scene_0001"]
    assert found.image_sizes.tolist() == [[96, 96]] * 2
    assert f"2 images, {found.n_boxes} boxes, 0 images could not be read" in out


def test_tile(al, tmp_path):
    labels = synthetic.write_dataset(tmp_path, 2, 96)
    dota.write(labels, tmp_path / "labelTxt")
    words = ("tile", tmp_path / "images", "--out", tmp_path / "tiles", "--tile", 64, "--overlap", 16)
    code, out, err = al(*words, "--labels", tmp_path / "labelTxt", "--classes", ",".join(synthetic.CLASSES))
    assert code == 0, err
    assert "8 tiles of 2 scenes" in out
    cut = dota.read(tmp_path / "tiles" / "labelTxt", synthetic.CLASSES)
    assert f"{cut.n_boxes} boxes, of {labels.n_boxes} in the scenes" in out
    assert cut.image_ids.tolist() == list(al_rotate.images.find(tmp_path / "tiles" / "images"))
    assert cut.n_boxes >= labels.n_boxes
    assert al(*words)[0] == 0  # again: nothing to do
    code, _, err = al("tile", tmp_path / "images", "--out", tmp_path / "tiles", "--overlap", 2000)
    assert (code, "expected 0 <= overlap < size" in err) == (1, True)
    (tmp_path / "labelTxt" / "other.txt").touch()
    code, _, err = al(*words, "--labels", tmp_path / "labelTxt")
    assert (code, "expected a scene for every label file, got none of 'other'" in err) == (1, True)


@pytest.mark.mm
def test_what_only_tiles_have_is_not_passed_over(al, tmp_path):
    words = ("predict", tmp_path, "--config", CONFIG, "--out", tmp_path / "out", "--scales", 0.5)
    code, _, err = al(*words)
    assert (code, "expected --tile with --overlap or --scales" in err) == (1, True)
