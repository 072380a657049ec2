"""Labelling times: known rates are recovered despite interruptions, and what is unknown is assumed and said so."""

import numpy as np
import pandas as pd
import pytest

from al_rotate.sampling.costs import CostModel, ExpectedCost, fit, least_probability


def ledger(n, image=8.0, box=0.5, correction=6.0, noise=1.0, late=0.0, seed=0):
    """Answers of somebody with these rates; a share `late` of them has twenty minutes of something else in it."""
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 30, n)
    added, moved = rng.integers(0, 5, n), rng.binomial(shown, 0.4)
    deleted = rng.binomial(shown - moved, 0.2)
    seconds = image + box * shown + correction * (added + moved + deleted) + rng.normal(0, noise, n)
    seconds += np.where(rng.random(n) < late, 1200, 0)
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "status": "labelled",
            "n_boxes": pd.array(shown + added - deleted, "Int64"),
            "seconds": np.maximum(seconds, 0.5),
            "n_added": pd.array(added, "Int64"),
            "n_moved": pd.array(moved, "Int64"),
            "n_relabelled": pd.array([0] * n, "Int64"),
            "n_deleted": pd.array(deleted, "Int64"),
        }
    )


@pytest.mark.parametrize("late", [0.0, 0.1])
def test_rates_are_found_again(late):
    """Though somebody answers the door one time in ten."""
    fitted = fit(ledger(400, late=late))
    assert fitted.notice is None
    assert fitted.n_images == 400
    truth = {"image": 8.0, "box": 0.5, "correction": 6.0}
    for name, value in truth.items():
        assert getattr(fitted.cost, name) == pytest.approx(value, abs=0.8)
        assert fitted.intervals.loc[name, "low"] - 0.3 <= value <= fitted.intervals.loc[name, "high"] + 0.3
    # 0 to 4 are added whatever is shown; of those shown 40 % are moved, and 20 % of the rest deleted.
    assert fitted.cost.corrections_per_image == pytest.approx(2, abs=0.3)
    assert fitted.cost.corrections_per_box == pytest.approx(0.52, abs=0.02)


def test_intervals_cover_what_they_say():
    """Of twenty people with these rates, 90 % intervals hold the truth for about nine in ten."""
    inside = [fit(ledger(60, noise=5, seed=seed)).intervals.loc["correction"] for seed in range(20)]
    assert sum(row["low"] <= 6 <= row["high"] for row in inside) >= 15


def test_more_answers_narrow_the_intervals():
    few, many = (fit(ledger(n, noise=5)).intervals for n in (40, 640))
    assert ((many["high"] - many["low"]) < 0.6 * (few["high"] - few["low"])).all()


def test_what_is_not_known_is_left_out():
    rows = ledger(100)
    unknown = rows.assign(seconds=np.nan)
    unknown["n_added"] = pd.array([None] * 100, "Int64")
    skipped = rows.assign(status="skipped", seconds=9999.0)
    fitted = fit(pd.concat([rows, unknown, skipped], ignore_index=True))
    assert fitted.n_images == 100
    assert fitted.cost == fit(rows).cost


def test_rounds_that_showed_nothing_tell_nothing_of_corrections_to_expect():
    rows = ledger(100).assign(round=1)
    without_detector = rows.assign(round=0, n_boxes=9, n_added=9, n_moved=0, n_deleted=0)
    both, alone = (fit(table).cost for table in (pd.concat([without_detector, rows], ignore_index=True), rows))
    assert both.corrections_per_image == pytest.approx(alone.corrections_per_image)
    assert both.corrections_per_box == pytest.approx(alone.corrections_per_box)
    only = fit(without_detector, ExpectedCost(box=0.25, corrections_per_box=0.75)).cost
    assert (only.box, only.corrections_per_box, only.corrections_per_image) == (0.25, 0.75, 0)


def test_too_few_answers():
    assumed = ExpectedCost(image=3)
    fitted = fit(ledger(19), assumed)
    assert (fitted.cost, fitted.n_images) == (assumed, 19)
    assert fitted.notice == "labelling times are assumed: 19 answers have a known time, 20 are needed"
    assert fitted.intervals["value"].tolist() == [3, 1.5, 5, 1, 0]
    assert fitted.intervals[["low", "high"]].isna().all(axis=None)


def test_an_image_takes_what_untouched_ones_take():
    """Otherwise corrections, which take 2 s or 12 s, explain all of it, and images without a box are for nothing."""
    added, deleted = np.repeat([0, 0, 6], [10, 30, 30]), np.repeat([0, 1, 0], [10, 30, 30])
    rows = ledger(70).assign(n_added=added, n_moved=0, n_deleted=deleted, n_boxes=added)
    rows["seconds"] = 2.0 + 12 * added + 2 * deleted
    assert fit(rows).cost.image == pytest.approx(2)
    touched = rows.iloc[10:]
    assert fit(touched, ExpectedCost(image=1)).cost.image == pytest.approx(1)
    assert fit(touched).cost.image == pytest.approx(4)  # none took less


def test_images_without_boxes_say_nothing_of_boxes():
    rows = ledger(50).assign(n_boxes=0, n_added=0, n_moved=0, n_deleted=0, seconds=4.0)
    fitted = fit(rows)
    assert fitted.cost.image == pytest.approx(4)
    assert (fitted.cost.box, fitted.cost.correction, fitted.cost.corrections_per_box) == (1.5, 5, 1)  # as assumed
    assert fitted.cost.seconds([0, 100]).tolist() == pytest.approx([4, 654])


@pytest.mark.parametrize("options", [{"image": -1}, {"box": np.nan}, {"image": 0, "box": 0, "correction": 0}])
def test_what_is_no_cost(options):
    with pytest.raises(ValueError, match="expected finite seconds >= 0 and some above"):
        ExpectedCost(**options)


def test_no_ledger():
    with pytest.raises(ValueError, match="expected a ledger with status, n_boxes"):
        fit(pd.DataFrame({"seconds": [1.0], "n_added": 0, "n_moved": 0, "n_relabelled": 0, "n_deleted": 0}))


def test_a_box_is_shown_if_that_is_expected_to_take_less_than_drawing():
    """The two figures of the rule, and at each threshold both ways take the same time."""
    assert least_probability() == pytest.approx(2 / 9)
    assert least_probability(CostModel(added=35)) == pytest.approx(2 / 32)
    cost, mend = CostModel(added=20, deleted=3), np.array([0.0, 2.0, 8.0])
    p = least_probability(cost, mend)
    np.testing.assert_allclose(p * mend + (1 - p) * cost.deleted, p * cost.added)
    assert p.tolist() == sorted(p)


def test_what_takes_longer_than_drawing_is_never_shown():
    """To mend it takes as long as to draw it, or longer; also where wrong boxes cost nothing."""
    assert least_probability(mend=12) == least_probability(mend=99) == np.inf
    assert least_probability(mend=11.9) == pytest.approx(2 / 2.1)
    free = CostModel(deleted=0)
    assert (least_probability(free, 11.9), least_probability(free, 12)) == (0, np.inf)
    for wrong in (-1, [1, np.nan]):
        with pytest.raises(ValueError, match="expected finite seconds >= 0"):
            least_probability(mend=wrong)


def test_the_times_of_a_person():
    """Drawn from nothing an image is opened, and each box drawn; what is assumed of an image follows from its boxes."""
    cost = CostModel(image=4, added=30, moved=7, kept=2)
    assert cost.from_nothing([0, 2, 5]).tolist() == [4, 64, 154]
    assert ExpectedCost.assumed(cost).seconds([0, 3]).tolist() == [4, 4 + 3 * (2 + 7)]
    assert ExpectedCost.assumed(CostModel()) == ExpectedCost()
    # Who counts nothing but what is drawn, as simulations did before looks cost anything.
    assert ExpectedCost.assumed(CostModel(image=0, moved=0, kept=0)).seconds([0, 3]).tolist() == [0, 3 * 12]
    assert ExpectedCost.assumed(CostModel(image=0, added=0, moved=0, kept=0)) == ExpectedCost()
    for wrong in (-1, np.inf, np.nan):
        with pytest.raises(ValueError, match="expected finite seconds >= 0, got CostModel"):
            CostModel(added=wrong)
