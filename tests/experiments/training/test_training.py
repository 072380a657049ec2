"""The comparison of ways to train: rounds and schedules of recipes, a run that resumes, the table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.dataset import BaseDataset, ClassBalancedDataset  # noqa: E402

import al_rotate as al  # noqa: E402
from al_rotate import Schedule  # noqa: E402
from experiments.learners.features import CHANNELS, FLIPS, STRIDES, Sandbox  # noqa: E402
from experiments.learners.sandbox import SandboxLearner, repeats  # noqa: E402
from experiments.training import recipes, run, table  # noqa: E402

SIZE = 64


@pytest.fixture
def sandbox():
    """Random features: nothing can be learnt, and that does not matter here."""
    rng = np.random.default_rng(0)
    ids = [f"i{k:02d}" for k in range(45)]
    boxes = np.tile([32, 32, 20, 10, 0.2], (45, 1))
    labels = al.RotatedInstances(
        ids, np.arange(46), boxes, np.arange(45) % 9 == 0, classes=("ship", "plane"), image_sizes=[[SIZE, SIZE]] * 45
    )
    width = sum(c * (SIZE // s) ** 2 for c, s in zip(CHANNELS, STRIDES, strict=True))
    features = rng.normal(0, 1, (45 * len(FLIPS), width)).astype(np.float16)
    parts = {name: (labels, {i: Path(i) for i in ids}) for name in ("pool", "test")}
    rows = {i: k * len(FLIPS) for k, i in enumerate(ids)}
    return Sandbox(SIZE, parts, features, rows, dict.fromkeys(ids, (SIZE, SIZE)), FLIPS)


def test_rounds_and_what_each_is_trained_with():
    assert recipes.RECIPES["published"].rounds(100) == [20, 40, 60, 80, 100]
    assert recipes.RECIPES["cold"].rounds(100) == [40, 100]
    assert recipes.RECIPES["warm"].rounds(100) == [20, 40, 100]
    assert recipes.RECIPES["cold"].schedule_of(is_first=False) == recipes.COLD
    assert recipes.RECIPES["warm"].schedule_of(is_first=True) == recipes.COLD
    low = recipes.RECIPES["warm"].schedule_of(is_first=False)
    assert (low.rate, low.warm_up, low.iterations(100)) == (0.1, 0, recipes.COLD.iterations(100))
    assert recipes.RECIPES["warm-restarted"].schedule_of(is_first=False) == recipes.COLD
    assert recipes.RECIPES["published"].schedule_of(is_first=False) is None


def test_a_run_goes_on_where_it_was(sandbox, tmp_path, monkeypatch):
    short = Schedule(per_image=0.05, least=1, ema=0.5, balance=0.5)
    some = {"cold": recipes.Recipe(short), "warm": recipes.Recipe(short, warm=True)}
    monkeypatch.setattr(run, "RECIPES", some)
    for _ in range(2):
        for name in some:
            run.run(sandbox, tmp_path, tmp_path / "scenes.csv", name, 0, 40)
    rows = pd.read_csv(tmp_path / "scenes.csv")
    assert rows[["recipe", "images", "iterations", "iterations_in_all"]].to_numpy().tolist() == [
        ["cold", 40, 2, 2],
        ["warm", 20, 1, 1],
        ["warm", 40, 2, 3],
    ]
    assert rows["boxes"].tolist() == rows["images"].tolist()


def test_images_are_repeated_as_mmengine_does(sandbox):
    labels = sandbox.parts["pool"][0]

    class Listed(BaseDataset):
        def load_data_list(self):
            return [{"classes": image.labels.tolist()} for _, image in labels]

        def get_cat_ids(self, idx):
            return self.get_data_info(idx)["classes"]

    for threshold in (0.05, 0.3, 0.95):
        balanced = ClassBalancedDataset(Listed(metainfo={"classes": labels.classes}), threshold)
        assert np.bincount(balanced.repeat_indices).tolist() == repeats(labels, threshold).tolist()
    assert {*repeats(labels, 0.3).tolist()} == {1, 2}  # planes are on five of 45


def test_the_schedule_counts_labelled_images_and_averages(sandbox, tmp_path):
    labels, files = sandbox.parts["pool"]
    learner = SandboxLearner(sandbox, batch_size=2)
    schedules = {"plain": Schedule(per_image=0.1, least=1), "mean": Schedule(per_image=0.1, least=1, ema=0.9)}
    trained = {name: learner.train(None, files, labels, tmp_path / name, each) for name, each in schedules.items()}
    assert [metrics["iterations"] for _, metrics in trained.values()] == [4, 4]
    assert trained["plain"][1]["loss"] == trained["mean"][1]["loss"]  # the same training
    assert trained["plain"][0].read_bytes() != trained["mean"][0].read_bytes()  # of which the mean is kept


def test_the_table_compares_seeds_that_both_have():
    rows = [("published", 0, 40, 50, 250, 0.40), ("published", 1, 40, 50, 250, 0.50), ("cold", 1, 40, 200, 200, 0.53)]
    columns = ["recipe", "seed", "images", "iterations", "iterations_in_all", "mAP"]
    lines = table.table(pd.DataFrame(rows, columns=columns)).splitlines()
    assert lines[2:] == [
        "| published | 40 | 50 | 250 | 40.0, 50.0 | 45.0 |  |",
        "| cold | 40 | 200 | 200 | 53.0 | 53.0 | +3.0 (1) |",
    ]


def test_leads_are_means_over_data_sets_with_intervals_over_seeds(monkeypatch):
    monkeypatch.setattr(table, "PAIRS", [("cold", "published")])
    columns = ["recipe", "seed", "images", "mAP"]
    tables = [
        pd.DataFrame([(name, k, 100, value) for name, values in of.items() for k, value in enumerate(values)])
        for of in (
            {"published": (0.40, 0.40, 0.10), "cold": (0.43, 0.45, 0.90)},
            {"published": (0.20, 0.20), "cold": (0.21, 0.23)},
        )
    ]
    # Seeds 0 and 1 are 2 and 4 points ahead: a standard error of 1, and t = 12.706 with one degree of freedom.
    lines = table.leads([rows.set_axis(columns, axis=1) for rows in tables]).splitlines()
    assert lines[2:] == ["| cold, 100 | published | +3.0 [-9.7, +15.7] | 2 |"]
