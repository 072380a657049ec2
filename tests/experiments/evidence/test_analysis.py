"""Areas, intervals, savings and counts, on a table made by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.evidence import analysis


def test_areas_and_paired_intervals(hand_made):
    areas = analysis.areas(hand_made, "images")
    assert areas.loc["random", "aulc"] == pytest.approx(0.305)
    assert areas.loc["good", "difference"] == pytest.approx((0.5 * 0.1 + 0.1) / 2)
    # The draws move both alike, and both seeds agree.
    assert areas.loc["good", ["low", "high"]].tolist() == pytest.approx([0.075, 0.075])
    assert areas.loc["good", ["seeds_better", "covered"]].tolist() == [2, 1]


def test_intervals_are_students(hand_made):
    """With the seeds' degrees of freedom where these disagree, and no more than twice as many where images do."""
    good = hand_made["name"] == "good"
    moved = hand_made.assign(mAP=hand_made["mAP"] + 0.02 * (good & (hand_made["seed"] == 1)))
    row = analysis.areas(moved, "images").loc["good"]
    half = stats.t.ppf(0.975, 1) * 0.02 / np.sqrt(2) / np.sqrt(2)
    assert (row["low"], row["high"]) == pytest.approx((0.085 - half, 0.085 + half))
    wider = [
        np.array(draws) + np.array([-0.01, 0, 0.01]) * own
        for draws, own in zip(hand_made["resampled"], good, strict=True)
    ]
    row = analysis.areas(hand_made.assign(resampled=wider), "images").loc["good"]
    assert row["high"] - row["difference"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.01)
    single = analysis.areas(hand_made[hand_made["seed"] == 0], "images").loc["good"]
    assert single["difference"] == pytest.approx(0.075)
    assert np.isnan(single["low"])


@pytest.mark.parametrize("images", [0.1, 0.3, 1.0])  # variance that test images bring, in seeds' variances
def test_where_nothing_differs_little_is_significant(images):
    """300 comparisons of 13 strategies in three seeds, none better than random, which all of them share."""
    rng = np.random.default_rng(0)
    covered, daggers = [], 0
    for _ in range(300):
        shared, seeds = rng.normal(size=4), rng.normal(size=(13, 4))
        seeds = (shared + seeds) / np.sqrt(2)
        p = []
        for *differences, of_images in seeds:
            mean = np.mean(differences) + of_images * np.sqrt(images / 3)
            draws = rng.normal(scale=np.sqrt(images / 3), size=200)
            error, freedom = analysis.standard_error(np.array(differences), draws)
            p.append(2 * stats.t.sf(abs(mean) / error, freedom))
        covered += [value > 0.05 for value in p]
        daggers += bool((stats.false_discovery_control(p) < 0.05).any())
    assert 0.93 < np.mean(covered) < 0.995
    assert daggers / 300 < 0.08


def test_p_values_are_adjusted_for_the_number_of_strategies(hand_made):
    """p is that of a paired t test; adjusted, it is that of Benjamini and Hochberg, 1995."""
    good, second = hand_made["name"] == "good", hand_made["seed"] == 1
    moved = hand_made.assign(mAP=hand_made["mAP"] + 0.02 * (good & second))
    other = hand_made.assign(mAP=hand_made["mAP"] + 0.002 * (good & second))[good].assign(name="other")
    areas = analysis.areas(pd.concat([moved, other]), "images")
    p = [stats.ttest_1samp(differences, 0).pvalue for differences in ([0.075, 0.095], [0.075, 0.077])]
    assert areas.loc[["good", "other"], "p"].tolist() == pytest.approx(p)
    assert areas.loc[["good", "other"], "q"].tolist() == pytest.approx([p[0], 2 * p[1]])
    assert analysis.areas(moved, "images").loc["good", "q"] == pytest.approx(p[0])  # the reference does not count
    assert np.isnan(areas.loc["random", "q"])


def test_each_strategy_is_compared_over_its_own_range(hand_made):
    """A third strategy that ends early takes nothing from the others."""
    short = hand_made[hand_made["name"] == "good"].assign(name="short")
    short["images"] = 10 + (short["images"] - 10) / 4  # 10, 12.5, 15
    areas = analysis.areas(pd.concat([hand_made, short]), "images")
    assert areas.loc["good", "difference"] == pytest.approx(0.075)
    assert areas.loc["short", "covered"] == pytest.approx(0.25)
    # It is 0.2, 0.4, 0.5 at 10, 12.5 and 15; random rises from 0.2 to 0.25 there.
    assert areas.loc["short", "difference"] == pytest.approx((0.3 + 0.45) / 2 - 0.225)


def test_savings_on_the_means(hand_made):
    savings = analysis.savings(hand_made, "images")
    assert savings.loc["random", "saving"] == 0
    # `good` comes to 0.405, where random ends, just after its second round.
    assert savings.loc["good", "saving"] == pytest.approx(1 - 20 / 30, abs=0.01)
    assert savings["reached"].tolist() == [2, 2]
    second_of_good = (hand_made["name"] == "good") & (hand_made["seed"] == 1)
    low = hand_made.assign(mAP=hand_made["mAP"] - 0.15 * second_of_good)
    assert analysis.savings(low, "images").loc["good", "reached"] == 1


def test_likeness_of_the_selections(hand_made):
    likeness = analysis.likeness(hand_made)
    assert likeness.loc["random", "random"] == 1
    assert likeness.loc["random", "good"] == pytest.approx(1 / 3)  # one of two in common, in each round


def test_counts_are_means_over_the_seeds(hand_made):
    counts = analysis.queried(hand_made)
    assert counts.loc["good", "images"] == 4
    assert counts.loc["good", "boxes"] == 100
    assert counts.loc["good", "added"] == 3


def test_the_costs_assumed_are_those_that_were_charged(finished):
    """With the annotator's own rates the recounted seconds are the loop's."""
    _, table = finished
    charged = analysis.areas(table, "seconds")["difference"]
    gains = analysis.gains_by_cost(table)
    assert gains["as assumed"].tolist() == pytest.approx(charged.tolist())
    assert gains.loc["entropy-sum", "drawing takes 35 s"] != pytest.approx(charged["entropy-sum"], abs=1e-4)


def test_gains_by_class(hand_made):
    assert analysis.class_gains(hand_made).loc["good", "ship"] == pytest.approx(0.1)


def test_only_seeds_that_all_strategies_have_finished_count(hand_made):
    last = (hand_made["name"] == "good") & (hand_made["seed"] == 1) & (hand_made["round"] == 2)
    cut = hand_made[~last]
    with pytest.warns(UserWarning, match=r"seeds \[1\] are left out: good have not finished"):
        assert analysis.complete(cut)["seed"].unique().tolist() == [0]
    with pytest.raises(ValueError, match="finished seed"):
        analysis.complete(cut[cut["seed"] == 1])


def test_means_stop_where_a_seed_ends():
    curves = [(np.array([0.0, 10]), np.array([0.0, 1])), (np.array([2.0, 8]), np.array([1.0, 1]))]
    x, y = analysis.mean_curve(curves)
    assert (x[0], x[-1]) == (2, 8)
    assert y[0] == pytest.approx((0.2 + 1) / 2)
