"""The commands of the loop on a workspace, and rank."""

import re

import numpy as np
import pandas as pd
import pytest
from helpers.noisy import NoisyLearner

from al_rotate.data import RotatedInstances, synthetic
from al_rotate.loop import ActiveLoop
from al_rotate.sampling import CostModel, rank
from al_rotate.workspace.artefacts import read_showing_rule

CONFIG = "rotated_rtmdet_tiny-3x-dota"


def test_a_round_by_commands(al, pool, work):
    code, out, err = al("status", work)
    assert (code, err) == (0, "")
    assert out == (
        "12 images: 12 not labelled yet\n3 classes: ship, plane, court\n"
        f"queries are answered by labels that are held back\nnext: al-rotate query {work} --budget 50\n"
    )

    code, out, err = al("query", work, "--budget", 4)
    assert (code, err) == (0, "")
    selection = work / "rounds" / "000" / "selection.csv"
    queried = pd.read_csv(selection)["image_id"].tolist()
    assert "round 0: 4 images queried" in out
    assert out.endswith(
        f"no box is shown, because nothing is trained yet\nall of them: {selection}\nnext: al-rotate collect {work}\n"
    )
    assert re.findall(r"image_\d\d", out) == queried
    assert al("query", work, "--budget", 4) == (0, out, "")  # asking again is the same query
    out = al("status", work)[1]
    assert "12 images: 8 not labelled yet, 4 waiting for an answer\n" in out
    assert "round 0 is waiting for answers\n" in out
    assert out.endswith(f"next: al-rotate collect {work}\n")

    code, out, err = al("collect", work)
    assert (code, out, err) == (0, f"round 0: 4 labelled\nnext: al-rotate train {work}\n", "")
    assert al("collect", work)[:2] == (0, out)

    with ActiveLoop(work, learner=NoisyLearner(pool)) as loop:
        assert loop.workspace.labels() == pool.subset(sorted(queried))
        loop.train()
        code, out, err = al("status", work)  # while the loop has it
    assert (code, err) == (0, "")
    assert "12 images: 8 not labelled yet, 4 labelled\n" in out
    assert "round 0 is trained\n" in out
    assert re.search(r"0 +trained +random +4 +\d+ +\d+\.\d\d\n", out)
    assert out.endswith(f"next: al-rotate query {work} --budget 50\n")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--strategy", "margin", "--options", "how=sum"], {"strategy": "margin", "how": "sum"}),
        (["--options", "how=top-k", "k=2", "empty=first"], {"how": "top-k", "k": 2, "empty": "first"}),
        (["--options", "use_class_scores=false"], {"use_class_scores": False}),
        (["--strategy", "mus-cdb", "--budget", "4"], {"strategy": "mus-cdb", "budget": 4}),
    ],
)
def test_rank_is_al_rank(al, detections, tmp_path, arguments, options):
    expected = rank(RotatedInstances.load(detections), **options)
    code, out, err = al("rank", detections, *arguments, "--out", tmp_path / "ranking.csv", "--top", 3)
    assert (code, err) == (0, "")
    written = pd.read_csv(tmp_path / "ranking.csv")
    pd.testing.assert_frame_equal(written, expected.replace("", np.nan), check_dtype=False)
    assert out.startswith(expected.head(3).to_string(index=False) + f"\n{len(expected)} images ranked by ")
    assert f"all of them: {tmp_path / 'ranking.csv'}\nnext, " in out


def test_rank_at_random_has_a_seed(al, detections):
    images = RotatedInstances.load(detections)
    for seed in (0, 5):
        expected = rank(images, "random", np.random.default_rng(seed)).head(12).to_string(index=False)
        out = al("rank", detections, "--strategy", "random", "--seed", seed, "--top", 12)[1]
        assert out.startswith(expected + "\n")


def test_a_workspace_that_is_held(al, pool, work):
    with ActiveLoop(work, learner=NoisyLearner(pool)):
        code, out, err = al("query", work)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"al-rotate query: .* is held by process \d+ .*al-rotate status .*\n", err)
    assert al("query", work)[0] == 0


@pytest.mark.mm
def test_from_images_to_a_query_by_commands(al, tmp_path):
    for part, n in (("pool", 6), ("test", 2)):
        synthetic.write_dataset(tmp_path / part, n, 64, prefix=part)
    init = ["init", tmp_path / "work", "--images", tmp_path / "pool" / "images", "--config", CONFIG, "--seed", 4]
    test = ["--test-images", tmp_path / "test" / "images", "--test-labels", tmp_path / "test" / "labelTxt"]
    assert al(*init)[2].startswith(
        "al-rotate init: expected --classes: dota-v1, dota-v1.5, dota-v2, names separated by"
    )
    simulated = [*init, "--simulate", tmp_path / "pool" / "labelTxt", "--classes", ",".join(synthetic.CLASSES)]
    assert "--test-images and --test-labels together" in al(*simulated, *test[:2])[2]
    assert not (tmp_path / "work").exists()
    command = [*simulated, *test, "--device", "cpu", "--strategy", "margin", "--cost", "added=35", "kept=1"]
    code, out, _ = al(*command)
    assert code == 0
    assert out.endswith(
        f"{tmp_path / 'work'}: 6 images, 6 not labelled yet\n5 classes: {', '.join(synthetic.CLASSES)}\n"
        f"next: al-rotate query {tmp_path / 'work'} --budget 50\n"
    )
    assert al(*command)[0] == 0  # again: nothing new
    code, _, err = al(*command, "--cfg-options", "model.test_cfg.score_thr=0.3")
    assert code == 1
    assert "was made with a detector of another config" in err
    assert "is there already, with CostModel(image=5.0, added=35.0," in al(*command, "--cost", "added=9")[2]
    assert al("query", tmp_path / "work", "--budget", 2)[0] == 0
    assert al("collect", tmp_path / "work")[:2] == (
        0,
        f"round 0: 2 labelled\nnext: al-rotate train {tmp_path / 'work'}\n",
    )
    with ActiveLoop(tmp_path / "work") as loop:
        settings = loop.settings
        assert loop.annotator.cost == settings.cost == CostModel(added=35, kept=1)
        ledger = loop.workspace.ledger()
        assert ledger["seconds"].tolist() == [5 + 35 * n for n in ledger["n_boxes"]]
        assert read_showing_rule(tmp_path / "work" / "rounds" / "000").cost == settings.cost
    assert (settings.strategy, settings.seed, settings.device, settings.untrained_start) == ("margin", 4, "cpu", True)
