"""Areas, intervals and savings, on a table made by hand."""

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


LOGS = np.log([100.0, 200, 400, 800, 1600])


def shifted(of_seeds: dict[str, list[list[float]]], draws: float = 0.0, at: np.ndarray = LOGS) -> pd.DataFrame:
    """Curves over `log`, one for each seed; on two draws of test images they are lower and higher by `draws`."""
    rows = [
        {"name": name, "seed": seed, "round": k, "log": at[k], "mAP": y, "resampled": [y - draws, y + draws]}
        for name, by_seed in of_seeds.items()
        for seed, values in enumerate(by_seed)
        for k, y in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_an_arm_that_is_its_reference_shifted_saves_exactly_that():
    random, less = 0.1 * LOGS - 0.3, 0.1 * (LOGS - np.log(0.8)) - 0.3
    found = analysis.shift(shifted({"random": [random] * 3, "less": [less] * 3}, draws=0.05), "log", "less")
    assert found.log == pytest.approx(-np.log(0.8))
    assert found.saving == pytest.approx((0.2, 0.2, 0.2))  # test images that move both alike move no shift
    back = analysis.shift(shifted({"random": [less] * 2, "more": [random] * 2}), "log", "more")
    assert back.saving[0] == pytest.approx(-0.25)


def test_a_shift_by_hand():
    """At logs 0, 1, 3: the arm starts as its reference and is 0.1 above it from 1 on, in one seed 0.04."""
    at = np.array([0.0, 1, 3])
    table = shifted({"random": [[0, 0.2, 0.3], [0, 0.1, 0.6]], "arm": [[0, 0.3, 0.4], [0, 0.14, 0.64]]}, at=at)
    found = analysis.shift(table, "log", "arm")
    d, r = np.array([0.1, 0.04]) * 2.5 / 3, np.array([0.1, 0.2])
    assert found.log == pytest.approx(d.mean() / r.mean())
    # Without one of two seeds the other is left: pseudo-values are 2 D / R - d / r of the other.
    pseudo = 2 * d.mean() / r.mean() - (d / r)[::-1]
    assert found.error == pytest.approx(pseudo.std(ddof=1) / 2**0.5)
    assert found.freedom == 1
    half = stats.t.ppf(0.975, 1) * found.error
    assert found.saving == pytest.approx([1 - np.exp(-found.log + k * half) for k in (0, 1, -1)])
    # The arm ends at 2, where it is 0.1 or 0.04 above 0.25 and 0.35: the reference rises by that much up to there.
    ends = table.assign(log=table["log"].where((table["name"] == "random") | (table["log"] < 3), 2.0))
    ends.loc[(ends["name"] == "arm") & (ends["log"] == 2), "mAP"] = [0.35, 0.39]
    expected = np.mean([0.1, 0.04]) * 1.5 / 2 / np.mean([0.25 / 2, 0.35 / 2])
    assert analysis.shift(ends, "log", "arm").log == pytest.approx(expected)


def test_the_lead_at_the_end_is_where_the_shorter_curve_ends():
    at = np.array([0, 1.0, 3.0])
    table = shifted({"random": [[0, 0.2, 0.3], [0, 0.1, 0.6]], "arm": [[0, 0.3, 0.4], [0, 0.14, 0.64]]}, at=at)
    lead, low, high = analysis.lead_at_end(table, "log", "arm")
    assert lead == pytest.approx((0.1 + 0.04) / 2)
    assert high - lead == pytest.approx(lead - low)
    shorter = table[(table["name"] != "arm") | (table["log"] < 3)]
    assert analysis.lead_at_end(shorter, "log", "arm")[0] == pytest.approx((0.1 + 0.04) / 2)


def test_a_reference_that_does_not_rise_gives_no_shift():
    flat, rising = np.full(5, 0.3), 0.1 * LOGS
    nothing = analysis.shift(shifted({"random": [flat] * 2, "arm": [rising] * 2}), "log", "arm")
    assert np.isnan(nothing.saving).all()
    # Without the second seed it does not rise: what is saved is known, how surely is not.
    one = analysis.shift(shifted({"random": [flat, rising], "arm": [flat + 0.1, rising]}), "log", "arm")
    assert one.log == pytest.approx(0.05 / 0.05)
    assert np.isnan(one.saving[1:]).all()


def simulated(rng: np.random.Generator, saving: float, n_seeds: int = 8) -> analysis.Shift:
    """Trainings and pools that scatter by 2 points in each round, from a shared start on; 200 draws of test images."""
    rises, images = 0.1 * (LOGS - LOGS[0]), rng.normal(0, 0.01, 201)
    rows = []
    for seed in range(n_seeds):
        start = rng.normal(0.4, 0.02)
        for name, lead in (("random", 0.0), ("arm", -0.1 * np.log(1 - saving))):
            y = start + rises + lead + np.r_[0, rng.normal(0, 0.02, 4)] + images[0] * (name == "arm")
            drawn = y[:, None] + images[1:] * (name == "arm")
            rows.append(pd.DataFrame({"name": name, "seed": seed, "round": range(5), "log": LOGS, "mAP": y}))
            rows[-1]["resampled"] = drawn.tolist()
    return analysis.shift(pd.concat(rows), "log", "arm")


def test_intervals_of_shifts_cover_what_is_true():
    """Of 100 comparisons with eight seeds about 95 hold the truth, of a saving and of none; so of two pooled."""
    rng = np.random.default_rng(0)
    for saving in (0.0, 0.2):
        found = [simulated(rng, saving) for _ in range(100)]
        for some in (found, [analysis.pooled(pair) for pair in zip(found[::2], found[1::2], strict=True)]):
            held = [low <= saving <= high for _, low, high in (shift.saving for shift in some)]
            assert 0.9 <= np.mean(held) <= 1


def test_shifts_are_pooled_with_equal_weights():
    one, other = analysis.Shift(0.3, 0.04, 7.0), analysis.Shift(0.1, 0.03, 14.0)
    found = analysis.pooled([one, other])
    assert found.log == pytest.approx(0.2)
    assert found.error == pytest.approx(0.05 / 2)
    assert found.freedom == pytest.approx(0.0025**2 / (0.0016**2 / 7 + 0.0009**2 / 14))
    assert found.p == pytest.approx(2 * stats.t.sf(8, found.freedom))
    assert analysis.pooled([one]) == pytest.approx(one)
    assert np.isnan(analysis.pooled([one, analysis.Shift(np.nan, np.nan, np.nan)]).saving).all()


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
