"""Savings on a table whose answers are known: who needs half of the seconds saves half."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from al_rotate import CostModel
from experiments.evidence.savings import (
    BY_PHOTOGRAPHS,
    BY_TILES,
    DETECTED,
    PSEUDO,
    RANDOM,
    Savings,
    Step,
    arrivals,
    from_nothing,
    mean_curve,
    steps_to,
)

PLAIN = CostModel(image=0, added=10, moved=0, relabelled=0, deleted=0, kept=5)
TWO = [Step("", RANDOM), Step("", "best")]


def test_where_a_mean_curve_reaches_targets():
    x = np.array([1.0, 2, 4, 8])  # log2(x) is 0, 1, 2, 3
    y = np.array([0.1, 0.2, 0.3, 0.4])
    at = arrivals(mean_curve([(x, y)]), np.array([0.1, 0.25, 0.4, 0.41]))
    assert at.tolist() == pytest.approx([1, 2**1.5, 8, np.inf], abs=1e-3)
    # The mean of the two is the first: the second is as far above it as the third below.
    at = arrivals(mean_curve([(x, y + 0.1), (x, y - 0.1)]), np.array([0.25]))
    assert at[0] == pytest.approx(2**1.5, abs=1e-3)
    # A round that is lucky is no arrival: 0.3 and 0.2 are 0.25 both.
    assert arrivals(mean_curve([(x, np.array([0.0, 0.3, 0.2, 0.4]))]), np.array([0.3]))[0] > 4


def test_a_mean_curve_starts_with_the_first_seed_and_ends_with_the_first_or_the_last():
    x, y = np.array([1.0, 2, 4, 8]), np.array([0.1, 0.2, 0.3, 0.4])
    seeds = [(x, y), (x[:3], y[:3])]
    seconds, mean = mean_curve(seeds)
    assert (seconds[-1], mean[-1]) == pytest.approx((4, 0.3))
    seconds, mean = mean_curve(seeds, to_last=True)
    assert (seconds[-1], mean[-1]) == pytest.approx((8, 0.35))
    seconds, mean = mean_curve([(x, y), (x[1:], y[1:])])
    assert (seconds[0], mean[0]) == pytest.approx((1, 0.15))


def test_each_step_brings_what_it_saves(paced):
    """Boxes to check cost half; where something is detected takes half of these, selection 5/8 of the rest."""
    found = paced({RANDOM: [1.0] * 3, DETECTED: [2.0] * 3, "best": [3.2] * 3})
    saved = Savings(found, PLAIN, steps_to(found, "best"))
    assert [step.title for step in saved.steps] == [BY_TILES.title, "pre-annotation", "detected", "selection"]
    assert saved.end == pytest.approx(1600)
    assert (saved.seconds / saved.seconds[0]).tolist() == pytest.approx([1, 0.5, 0.25, 0.156], abs=0.01)
    brought = [saved.brought_by(k).value for k in (1, 2, 3)]
    assert brought == pytest.approx([0.5, 0.25, 150 / 1600], abs=0.02)
    whole = saved.in_all()
    assert whole.value == pytest.approx(sum(brought))
    assert (whole.value, whole.low, whole.high) == pytest.approx([1 - 250 / 1600] * 3, abs=0.02)
    assert saved.in_all(-1, 2).value == pytest.approx(1 - 250 / 400, abs=0.03)
    paid = saved.in_all(paid=400)
    assert paid.value == pytest.approx(whole.value * saved.seconds[0] / (saved.seconds[0] + 400))
    longer = Savings(found, CostModel(image=0, added=35, moved=0, relabelled=0, deleted=0, kept=5), saved.steps)
    assert longer.in_all(1).value == pytest.approx(6 / 7, abs=0.005)


def test_targets_are_on_the_way_from_what_the_shared_query_reaches_to_randoms_end(paced):
    """From log(1 + 1) after the first query to log(1 + 8): the middle is log(sqrt(18)), whatever was before."""
    found = paced({RANDOM: [1.0], "best": [1.0]}, lift=0.3)
    half = Savings(found, PLAIN, [BY_TILES, Step("", "best")], targets=(0.5,))
    assert half.seconds[0] == pytest.approx(200 * (18**0.5 - 1), rel=0.03)
    begun = found.assign(mAP=found["mAP"].where(found["round"] > 0, 0.2))
    assert Savings(begun, PLAIN, half.steps, targets=(0.5,)).seconds[0] == half.seconds[0]
    assert half.target == pytest.approx(0.3 + np.log(9) / 4)


def test_the_quicker_way_from_nothing_is_the_baseline(paced):
    found = paced({RANDOM: [1.0] * 2})
    step, ends = from_nothing(found, PLAIN)  # tiles take nothing to open here, photographs 5 s; but 5 objects to 6
    assert step == BY_PHOTOGRAPHS
    assert ends == pytest.approx({BY_TILES.title: 1600, BY_PHOTOGRAPHS.title: 5 * 2.5 + 1600 * 5 / 6})
    step, _ = from_nothing(found.assign(asked_photographs=100), PLAIN)
    assert step == BY_TILES


def test_intervals_widen_with_seeds_that_disagree_and_with_few_test_images(paced):
    def half(by_seed: list[float], noise: float = 0.0) -> float:
        found = paced({RANDOM: [1.0] * 4, "best": by_seed}, noise=noise)
        share = Savings(found, PLAIN, TWO).in_all()
        assert share.low <= share.value <= share.high
        return share.high - share.low

    alike, unlike = half([2.0] * 4), half([1.6, 1.8, 2.2, 2.4])
    assert alike < 0.02 < 0.1 < unlike
    # Test images that move both curves alike move no arrival.
    assert half([2.0] * 4, noise=0.05) < 0.02


def test_intervals_cover_what_is_true(paced):
    """Of 60 comparisons with eight seeds, whose pace scatters by a fifth, about 57 intervals hold the truth."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        found = paced({RANDOM: rng.lognormal(0, 0.2, 8).tolist(), "best": rng.lognormal(np.log(2), 0.2, 8).tolist()})
        share = Savings(found, PLAIN, TWO).in_all()
        covered += share.low <= 0.5 <= share.high
    assert covered >= 52


def test_a_missed_target_counts_as_no_saving_and_never_for_what_comes_after(paced):
    """The worse arm ends 0.13 lower: of random's rise of log(9 / 2) / 4 = 0.38 it reaches 65 %."""
    good = paced({RANDOM: [1.0, 1.0], DETECTED: [1.0, 1.0]})
    worse = pd.concat([good, paced({"worse": [1.0, 1.0]}, lift=-0.13)])
    share = Savings(worse, PLAIN, [TWO[0], Step("", "worse")]).in_all()
    assert (share.missed, share.n_targets, share.missed_without, share.n_seeds) == (4, 6, 2, 2)
    assert share.value < 0
    assert str(share).endswith("], misses 4 of 6 (2 of 2)")
    # A control that misses: whatever comes after it is compared with the control's end.
    steps = [BY_TILES, Step("pre-annotation", RANDOM), Step("control", "worse"), Step("selection", DETECTED)]
    saved = Savings(worse, PLAIN, steps)
    assert saved.brought_by(2).value < -0.2
    selection = saved.in_all(-1, 2)
    assert selection.missed == 4
    reached = Savings(worse, PLAIN, steps, targets=(1.0,)).in_all(-1, 2)
    assert reached.value == pytest.approx(0, abs=0.02)  # the control ends after 800 s, where the other arrives


def test_a_seed_without_which_a_target_is_missed_is_counted(paced):
    found = paced({RANDOM: [1.0] * 3, "best": [0.85, 0.85, 1.6]})
    share = Savings(found, PLAIN, TWO).in_all()
    assert (share.missed, share.missed_without) == (0, 1)
    assert str(share).endswith("] (1 of 3)")


def test_random_that_does_not_rise_says_nothing(paced):
    flat = paced({RANDOM: [0.0] * 2, DETECTED: [1.0] * 2})
    assert str(Savings(flat, PLAIN, steps_to(flat, DETECTED)).in_all()) == "what it is compared with does not rise"


def test_one_seed_says_nothing_of_others(paced):
    found = paced({RANDOM: [1.0], DETECTED: [2.0]})
    share = Savings(found, PLAIN, steps_to(found, DETECTED)).in_all()
    assert share.value == pytest.approx(0.75, abs=0.02)
    assert np.isnan(share.low)


def test_pseudo_labels_are_a_step_if_what_follows_has_them(paced):
    found = paced({RANDOM: [1.0] * 3, PSEUDO: [1.25] * 3, DETECTED: [2.0] * 3})
    assert "pseudo-labels" not in [step.title for step in steps_to(found, DETECTED)]
    with_them = found.assign(loop=found["loop"].where(found["name"] == RANDOM, '{"pseudo_labels": true}'))
    steps = steps_to(with_them, DETECTED)
    assert [step.title for step in steps][1:4] == ["pre-annotation", "pseudo-labels", "detected"]
    assert Savings(with_them, PLAIN, steps).brought_by(2).value == pytest.approx(0.1, abs=0.02)


def test_another_control_is_a_step_of_its_own(paced):
    found = paced({RANDOM: [1.0], DETECTED: [2.0], "box-count": [2.5], "best": [4.0]})
    steps = steps_to(found, "best", "box-count", BY_PHOTOGRAPHS)
    assert [step.arm for step in steps] == [RANDOM, RANDOM, DETECTED, "box-count", "best"]
    assert steps[0] == BY_PHOTOGRAPHS


@pytest.mark.parametrize(
    ("arm", "key", "value"),
    [
        ("best", "loop", '{"pseudo_labels": true}'),
        ("best", "training", '{"least": 1, "most": 99}'),
        ("box-count", "training", '{"least": 5, "most": 9}'),
        (DETECTED, "training", '{"least": 1, "most": 99}'),
        (RANDOM, "loop", '{"warm_start": true}'),
    ],
)
def test_selection_gets_no_credit_for_training(paced, arm, key, value):
    found = paced({RANDOM: [1.0], DETECTED: [2.0], "box-count": [2.5], "best": [4.0]})
    found.loc[found["name"] == arm, key] = value
    with pytest.raises(ValueError, match=f"expected of '.*' the {key} of '.*', .*, got "):
        steps_to(found, "best", "box-count")


def test_the_order_of_arguments_says_nothing_and_a_missing_arm_is_named(paced):
    found = paced({RANDOM: [1.0], DETECTED: [2.0], "best": [4.0]})
    found.loc[found["name"] == "best", "training"] = '{"most": 9, "least": 1}'
    assert steps_to(found, "best")[-1].arm == "best"
    with pytest.raises(ValueError, match="expected the arms bets in the table"):
        steps_to(found, "bets")
