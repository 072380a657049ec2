"""The claim, on a table whose answers are known: who needs half of the seconds saves half."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from al_rotate import CostModel
from experiments.evidence import savings
from experiments.evidence.savings import DETECTED, RANDOM, Savings, Step, claim, reached, recounted, steps_to

PLAIN = CostModel(image=0, added=10, moved=0, relabelled=0, deleted=0, kept=5)
SECONDS = np.array([0.0, 100, 200, 400, 800])


def table(of_seeds: dict[str, list[float]], lift: float = 0.0, noise: float = 0.0) -> pd.DataFrame:
    """Arms that come to log(1 + seconds / 100) / 4 in so many times fewer seconds, a number for each seed.

    Each box takes 5 s to check, and would take 10 s to draw.
    """
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "name": name,
                    "seed": seed,
                    "round": range(5),
                    "asked": [[f"{k}"] for k in range(5)],
                    "asked_boxes": np.diff(SECONDS / 5, prepend=0),
                    "asked_kept": np.diff(SECONDS / 5, prepend=0),
                    **{f"asked_{kind}": 0 for kind in ("added", "moved", "relabelled", "deleted")},
                    "mAP": (values := np.log1p(faster * SECONDS / 100) / 4 + lift),
                    "resampled": [[value - noise, value + noise] for value in values],
                    "iterations": [100, 110, 120, 140, 180],
                    "loop": '{"pseudo_labels": true}' if name == "random-pseudo" else "{}",
                }
            )
            for name, by_seed in of_seeds.items()
            for seed, faster in enumerate(by_seed)
        ],
        ignore_index=True,
    )


def test_seconds_are_recounted_from_what_people_did():
    one = table({RANDOM: [1.0]})
    cost = CostModel(image=2, added=10, moved=0, relabelled=0, deleted=0, kept=5)
    images = 2 * np.arange(1, 6)
    assert recounted(one, cost).tolist() == pytest.approx((SECONDS + images).tolist())
    assert recounted(one, cost, drawn=True).tolist() == pytest.approx((2 * SECONDS + images).tolist())
    shuffled = one.sample(frac=1, random_state=0)
    assert recounted(shuffled, cost)[one.index].tolist() == pytest.approx((SECONDS + images).tolist())


def test_where_a_curve_reaches_a_target():
    x = np.array([0.0, 1, 3, 7])  # log2(1 + x) is 0, 1, 2, 3
    y = np.array([0.1, 0.2, 0.3, 0.4])
    assert reached([(x, y)])[:2] == pytest.approx((7, 0.4))
    assert reached([(x, y)], 0.25)[0] == pytest.approx(2**1.5 - 1, abs=1e-6)
    assert reached([(x, y)], 0.41) == (7, 0.41, False)
    # The mean of the two is the first: the second is as far above it as the third below.
    assert reached([(x, y + 0.1), (x, y - 0.1)], 0.25)[0] == pytest.approx(2**1.5 - 1, abs=1e-6)
    # A round that is lucky is no arrival: 0.3 and 0.2 are 0.25 both.
    assert reached([(x, np.array([0.0, 0.3, 0.2, 0.4]))], 0.3)[0] > 3


def test_each_step_brings_what_it_saves():
    """Boxes to check cost half; where something is detected takes half of these, selection 5/8 of the rest."""
    found = table({RANDOM: [1.0] * 3, DETECTED: [2.0] * 3, "best": [3.2] * 3})
    saved = Savings(found, PLAIN, steps_to(found, "best"))
    assert [step.title for step in saved.steps] == ["from nothing", "pre-annotation", "detected", "selection"]
    assert saved.seconds == pytest.approx([1600, 800, 400, 250], rel=0.05)
    assert [saved.brought_by(k).value for k in (1, 2, 3)] == pytest.approx([0.5, 0.25, 150 / 1600], abs=0.02)
    whole = saved.in_all()
    assert (whole.value, whole.low, whole.high) == pytest.approx([1 - 250 / 1600] * 3, abs=0.02)
    assert saved.in_all(-1, 2).value == pytest.approx(1 - 250 / 400, abs=0.03)
    longer = Savings(found, CostModel(image=0, added=35, moved=0, relabelled=0, deleted=0, kept=5), saved.steps)
    assert longer.in_all(1).value == pytest.approx(6 / 7, abs=0.005)


def test_intervals_widen_with_seeds_that_disagree_and_with_few_test_images():
    def half(by_seed: list[float], noise: float = 0.0) -> float:
        found = table({RANDOM: [1.0] * 4, "best": by_seed}, noise=noise)
        share = Savings(found, PLAIN, [Step("", RANDOM), Step("", "best")]).in_all()
        assert share.low <= share.value <= share.high
        return share.high - share.low

    alike, unlike = half([2.0] * 4), half([1.6, 1.8, 2.2, 2.4])
    assert alike < 0.02 < 0.1 < unlike
    # Test images that move both curves alike move no arrival.
    assert half([2.0] * 4, noise=0.05) < 0.02


def test_intervals_cover_what_is_true():
    """Of 60 comparisons with eight seeds, whose pace scatters by a fifth, about 57 intervals hold the truth."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        found = table({RANDOM: rng.lognormal(0, 0.2, 8).tolist(), "best": rng.lognormal(np.log(2), 0.2, 8).tolist()})
        share = Savings(found, PLAIN, [Step("", RANDOM), Step("", "best")]).in_all()
        covered += share.low <= 0.5 <= share.high
    assert covered >= 52


def test_what_does_not_arrive_saves_nothing_that_can_be_said():
    found = table({RANDOM: [1.0, 1.0], DETECTED: [1.0, 1.0]})
    worse = pd.concat([found, table({"worse": [1.0, 1.0]}, lift=-0.2)])
    share = Savings(worse, PLAIN, steps_to(worse, "worse")).in_all()
    assert np.isnan(share.value)
    assert str(share) == "not reached"


def test_one_seed_says_nothing_of_others():
    found = table({RANDOM: [1.0], DETECTED: [2.0]})
    share = Savings(found, PLAIN, steps_to(found, DETECTED)).in_all()
    assert share.value == pytest.approx(0.75, abs=0.02)
    assert np.isnan(share.low)


def test_the_table_of_the_claim():
    found = table({RANDOM: [1.0] * 3, "random-pseudo": [1.25] * 3, DETECTED: [2.0] * 3, "best": [4.0] * 3})
    lines = claim({"pool": found}, "best").splitlines()
    assert lines[0].count("|") == lines[2].count("|") == 13
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[7] == cells[11] == ""  # pseudo-labels are no step, and nobody was trained for less long
    assert cells[12].startswith("+3 %")  # 160 boxes take 1945 s, and to check 265 s, of which a fifth is saved
    assert lines[2].startswith("| pool | 12 s | 0.5 h | 54.9 | +")
    assert lines[3].startswith("| pool | 35 s | 1.6 h | 54.9 | +")


def test_what_training_saves_stands_beside():
    found = table({"random-short": [0.5] * 3, RANDOM: [1.0] * 3, DETECTED: [2.0] * 3})
    alone = table({RANDOM: [1.0] * 3, DETECTED: [2.0] * 3})
    beside, without = (claim({"pool": rows}, DETECTED).splitlines()[2].split(" | ") for rows in (found, alone))
    assert beside[:-2] == without[:-2]
    assert beside[-2].startswith("+5")  # half of the seconds, about


def test_pseudo_labels_are_a_step_if_what_follows_has_them():
    found = table({RANDOM: [1.0] * 3, "random-pseudo": [1.25] * 3, DETECTED: [2.0] * 3})
    assert "pseudo-labels" not in [step.title for step in steps_to(found, DETECTED)]
    with_them = found.assign(loop=found["loop"].where(found["name"] == RANDOM, '{"pseudo_labels": true}'))
    steps = steps_to(with_them, DETECTED)
    assert [step.title for step in steps][1:4] == ["pre-annotation", "pseudo-labels", "detected"]
    assert Savings(with_them, PLAIN, steps).brought_by(2).value == pytest.approx(0.1, abs=0.02)


def test_a_lead_in_training_is_seen():
    found = table({RANDOM: [1.0] * 2, "best": [2.0] * 2})
    longer = found["iterations"].where(found["name"] == RANDOM, found["iterations"] * 1.5)
    lead = savings.training_lead(found.assign(iterations=longer))
    assert lead.loc[RANDOM].tolist() == pytest.approx([0, 0])
    assert lead.loc["best", "iterations"] > np.log(1.5)
    assert lead.loc["best", "ahead"] > 0.1
