"""What strategies with quotas for the classes prefer, on built cases."""

from functools import partial

import numpy as np
import pytest
from helpers.built import labelled, overconfident, pool

from al_rotate.sampling import Budget, QueryContext, rank, select


def test_mus_cdb_by_hand():
    """w = 1 - mean of the scores above 0.1, H = -sum p ln p over the classes."""
    candidates = pool(
        {"a": [(0, 0.5)], "b": [(0, 0.7)], "c": [(0, 0.5), (1, 0.9), (2, 0.05)]},
        class_scores=[[0.5, 0, 0], [0.7, 0, 0], [0.5, 0, 0], [0, 0.9, 0], [0, 0, 0.05]],
    )
    table = rank(candidates, "mus-cdb", budget=3).set_index("image_id")
    assert table.loc["a", "uncertainty"] == pytest.approx(0.5 * -0.5 * np.log(0.5))
    assert table.loc["b", "uncertainty"] == pytest.approx(0.3 * -0.7 * np.log(0.7), rel=1e-6)
    assert table.loc["c", "uncertainty"] == pytest.approx(0.3 * -0.5 * np.log(0.5), rel=1e-6)  # mean of 0.5, 0.9


@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
@pytest.mark.parametrize("name", ["mus-cdb", "pal"])
def test_the_rare_class_is_asked_for(name):
    """Ten images of ships, more uncertain than the two of courts, of which the labels show none."""
    ships = {f"s{i}": [(0, 0.5), (0, 0.5)] for i in range(10)}
    candidates = pool({**ships, "c0": [(2, 0.8)], "c1": [(2, 0.8)]})
    context = QueryContext(labelled([1000, 5, 0]))
    table = rank(candidates, name, context=context, budget=4)
    picked = table[table["placement"] == "picked"].set_index("image_id")
    assert {"c0", "c1"} <= {*picked.index}
    assert picked.loc["c0", "quota"] == "court"
    assert "c0" not in select(candidates, "entropy", 4)


def test_pal_is_calibrated():
    detections, truth = overconfident()
    candidates = pool({"a": [(0, 0.9)], "b": [(0, 0.6)], "c": [(1, 0.6)], "d": [(1, 0.9)]})
    table = rank(candidates, "pal", context=QueryContext(truth, detections), budget=4).set_index("image_id")
    assert table.loc["a", "uncertainty"] == pytest.approx(np.log(2), abs=0.02)
    assert table.loc["a", "uncertainty"] > table.loc["c", "uncertainty"]


def test_no_box():
    assert select(pool({"a": [], "b": []}), "mus-cdb", 1) == ["a"]


@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
@pytest.mark.parametrize("name", ["mus-cdb", "pal"])
def test_quotas_bind_whatever_the_budget_counts(name):
    """Crowded images of doubtful ships and of courts, a rare class, and many small images of one sure ship.

    Ten images of this strategy hold sixty boxes, and so do entropy's. Under a budget of sixty boxes, or of the time
    that these take, each must ask for the same ten. As many as sixty small images would fit: of quotas for so many all
    the ships come first, and the query would be entropy's.
    """
    ships = {f"s{i}": [(0, 0.5 - 0.01 * i)] * 6 for i in range(10)}
    courts = {f"c{i}": [(2, 0.8 - 0.01 * i)] * 6 for i in range(10)}
    sure = {f"x{i:02d}": [(0, 0.97 - 0.0001 * i)] for i in range(80)}
    candidates = pool({**ships, **courts, **sure})
    candidates = candidates.replace(class_scores=np.eye(3)[candidates.labels] * candidates.scores[:, None])
    ask = partial(select, candidates, context=QueryContext(labelled([200, 200, 5])))
    by_images, entropy = ask(name, 10), ask("entropy", 10)
    alike = jaccard(by_images, entropy)
    assert alike == pytest.approx(8 / 12)
    for budget in (Budget(boxes=60), Budget(seconds=5 * 10 + 390)):
        assert ask(name, budget) == by_images
        assert jaccard(ask(name, budget), ask("entropy", budget)) == alike


def jaccard(a, b):
    return len({*a} & {*b}) / len({*a, *b})
