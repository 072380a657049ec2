"""When to stop: agreement by hand, known curves found again, and each way the rule can go."""

import numpy as np
import pandas as pd
import pytest
from helpers.built import upright

from al_rotate import RotatedInstances
from al_rotate.sampling.stopping import advise, agreement, fit_curve, forecasts


def history(mean_ap, images=50, hours=1.0, **columns):
    """A history of rounds of equal size, all trained."""
    number = np.arange(len(mean_ap))
    frame = pd.DataFrame({"round": number, "stage": "trained", "strategy": "entropy", "mAP": mean_ap})
    frame = frame.assign(n_queried=images * (number + 1), n_labelled=images * (number + 1), n_skipped=0)
    frame = frame.assign(n_boxes=8 * frame["n_labelled"], cost=3600 * hours * (number + 1))
    return frame.assign(**columns)


def law(rounds, top=0.8, drop=0.5, rate=0.7):
    return top - drop * np.arange(1.0, rounds + 1) ** -rate


RISING, FLAT = law(5), [0.3, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]


# Agreement.


def test_agreement_by_hand():
    """Of 3 + 2 boxes one pair: shifted by 2 of 10 (IoU 8/12), by 4 (6/14), and of another class."""
    before = upright([(10, 0.9, 0), (40, 0.9, 0), (70, 0.9, 0)])
    assert agreement(before, upright([(12, 0.9, 0), (44, 0.9, 0)])) == pytest.approx(2 / 5)
    assert agreement(before, upright([(12, 0.9, 0), (44, 0.9, 0)]), iou_threshold=0.4) == pytest.approx(4 / 5)
    assert agreement(before, upright([(12, 0.9, 1), (40, 0.9, 0)])) == pytest.approx(2 / 5)
    assert agreement(before, before) == 1


def test_agreement_pairs_one_to_one_and_as_many_as_it_can():
    """10 fits 11 best, and 8; 14 fits 11 only: who takes the best pair first is left with one."""
    assert agreement(upright([(10, 0.9, 0), (10.5, 0.9, 0)]), upright([(10, 0.9, 0)])) == pytest.approx(2 / 3)
    before, after = upright([(10, 0.9, 0), (14, 0.9, 0)]), upright([(11, 0.9, 0), (8, 0.9, 0)])
    assert agreement(before, after) == 1


def test_agreement_counts_confident_boxes_of_the_same_image():
    before, after = upright([(10, 0.9, 0), (40, 0.2, 0)], []), upright([(10, 0.4, 0)], [(40, 0.9, 0)])
    assert agreement(before, after) == pytest.approx(2 / 3)
    assert agreement(before, after, least_score=0.5) == 0
    assert agreement(before, after.subset(["i1", "i0"])) == pytest.approx(2 / 3)


def test_agreement_of_nothing():
    nothing = upright([], [])
    assert agreement(nothing, nothing) == 1
    assert agreement(RotatedInstances.empty(["i0", "i1"]), nothing) == 1
    assert agreement(nothing, upright([(10, 0.9, 0)], [])) == 0


def test_no_agreement():
    detections = upright([(10, 0.9, 0)])
    with pytest.raises(ValueError, match="expected the same images in both, got 1 in one only"):
        agreement(detections, upright([], []))
    with pytest.raises(ValueError, match="expected detections of the same classes"):
        agreement(detections, upright([], classes=("car",)))
    with pytest.raises(ValueError, match="expected detections with scores"):
        agreement(detections, detections.replace(scores=None))
    for wrong in ({"least_score": 2}, {"iou_threshold": 0}, {"iou_threshold": np.nan}):
        with pytest.raises(ValueError, match="expected limits in"):
            agreement(detections, detections, **wrong)


# Curves.


@pytest.mark.parametrize(("top", "drop", "rate"), [(0.8, 20.0, 0.7), (0.55, 1.5, 0.3), (0.9, 3000.0, 1.8)])
def test_a_known_law_is_found_again(top, drop, rate):
    n = np.array([100, 200, 400, 800, 1600])
    curve = fit_curve(n, top - drop * n**-rate)
    assert (curve.top, curve.rate) == pytest.approx((top, rate), rel=2e-3)
    assert curve.at(5000) == pytest.approx(top - drop * 5000**-rate, abs=1e-4)


def test_curves_keep_their_bounds():
    """A straight rise would pass 1, a fall would rise backwards, and a step is steeper than any rate."""
    n = [1e5, 2e5, 3e5, 4e5]
    straight, falling, step = (
        fit_curve(n, y) for y in ([0.2, 0.4, 0.6, 0.8], [0.6, 0.5, 0.5, 0.4], [0, 0.5, 0.5, 0.5])
    )
    assert straight.top == 1
    assert straight.at(n).tolist() == sorted(straight.at(n))
    assert (falling.top, falling.drop) == (pytest.approx(0.5), 0)
    assert step.rate == 2


def test_bounded_fits_are_the_best_ones():
    """No bounded curve near by has a smaller error, where top is at its bound."""
    n, measured = np.array([1.0, 2, 3, 4]), np.array([0.2, 0.4, 0.6, 0.8])
    best = fit_curve(n, measured)
    error = np.sum((best.at(n) - measured) ** 2)
    for drop in (0.98, 0.99, 1.01, 1.02):
        for rate in (0.95, 1, 1.05):
            other = best.top - best.drop * drop * n ** -(best.rate * rate)
            assert np.sum((other - measured) ** 2) > error


@pytest.mark.parametrize(
    ("n", "measured"),
    [
        ([1, 2], [0.1, 0.2]),
        ([1, 2, 2], [0.1, 0.2, 0.3]),
        ([1, 2, 3], [0.1, 0.2]),
        ([0, 1, 2], [0.1, 0.2, 0.3]),
        ([1, 2, np.nan], [0.1, 0.2, 0.3]),
        ([1, 2, 3], [10, 20, 30]),
        ([1, 2, 3], [0.1, np.nan, 0.3]),
    ],
)
def test_no_curve(n, measured):
    with pytest.raises(ValueError, match=r"expected mAP in .* at 3 different n > 0 or more, got"):
        fit_curve(n, measured)


# Forecasts.


def test_forecasts_of_a_law_are_what_comes():
    rows = forecasts(history(RISING))
    assert rows.columns.tolist() == ["round", "cost", "forecast", "measured"]
    assert rows["round"].tolist() == [3, 4, 5]
    assert rows["cost"].tolist() == [4 * 3600, 5 * 3600, 6 * 3600]
    assert rows["forecast"].to_numpy() == pytest.approx(np.diff(law(6))[2:], abs=1e-4)
    assert rows["measured"].to_numpy()[:2] == pytest.approx(np.diff(law(5))[2:])
    assert np.isnan(rows["measured"].iloc[2])


def test_a_forecast_knows_only_the_rounds_before():
    changed = [*RISING[:4], 0.1]
    a, b = (forecasts(history(y))["forecast"] for y in (RISING, changed))
    assert a[:2].tolist() == b[:2].tolist()
    assert a[2] != b[2]


def test_forecasts_take_the_axis_that_is_known():
    assert forecasts(history(RISING, cost=0.0)).columns[1] == "n_boxes"
    assert forecasts(history(RISING, cost=np.nan, n_boxes=[0, 0, 1, 2, 3])).columns[1] == "n_labelled"
    partly = history(RISING, cost=[0.0, 0.0, 0.0, 3600.0, 7200.0])
    assert forecasts(partly).columns[1] == "n_boxes"
    assert forecasts(partly, x="n_labelled")["n_labelled"].tolist() == [200, 250, 300]
    for wrong in ("cost", "round"):
        with pytest.raises(
            ValueError, match=f"expected x that rises every round, one of n_boxes, n_labelled, got '{wrong}'"
        ):
            forecasts(partly, x=wrong)


def test_only_rounds_that_tell_something_count():
    """An open round, one that was not measured, and one whose images were all skipped."""
    rows = history([*law(4), np.nan, 0.2, 0.7, 0.9])
    rows["n_labelled"] = [50, 100, 150, 200, 250, 250, 300, 350]
    rows["n_skipped"] = [0, 0, 0, 0, 0, 50, 50, 50]
    rows.loc[7, "stage"] = "queried"
    table = forecasts(rows)
    assert table["round"].tolist() == [3, 6, 7]
    assert table["cost"].tolist() == [4 * 3600, 7 * 3600, 8 * 3600]
    assert table["measured"][1] == pytest.approx(0.7 - law(4)[3])
    assert forecasts(rows[:2]).empty
    assert forecasts(rows[:0]).columns.tolist() == ["round", "cost", "forecast", "measured"]


# The rule.


def test_go_on():
    advice = advise(history(RISING, hours=1.3))
    gain = law(6)[5] - law(6)[4]
    assert advice.stop is False
    assert advice.gain == pytest.approx(gain, abs=1e-4)
    assert advice.gain_per_hour == pytest.approx(gain / 1.3, abs=1e-4)
    assert advice.reason == (
        "Go on: another round like the last (50 images, 1.3 h) is forecast to gain 1.9 mAP points (1.5 an hour), "
        "the last one gained 2.7; both must be below 0.5 to stop."
    )


def test_stop():
    advice = advise(history(FLAT))
    assert advice.stop is True
    assert 0 <= advice.gain < 0.005
    assert advice.reason.startswith("Stop: another round like the last (50 images, 1.0 h) is forecast to gain 0.")
    assert advice.reason.endswith("the last one gained 0; both are below 0.5.")
    assert advise(history([0.6] * 4)).gain == 0
    assert "the last one gained 0;" in advise(history([*FLAT, 0.6 - 1e-6])).reason
    assert advise(history(FLAT), least_gain=1e-4).stop is False


@pytest.mark.parametrize(
    ("mean_ap", "said"),
    [
        ([*FLAT, 0.62], r"forecast to gain 0\.\d+ mAP points \(.*\), but the last one gained 2\.0; both must be"),
        ([*law(5), law(5)[-1]], r"forecast to gain 1\.\d mAP points \(.*\), but the last one gained 0; both must be"),
    ],
)
def test_forecast_and_measurement_disagree(mean_ap, said):
    advice = advise(history(mean_ap), [0.99, 0.99])
    assert advice.stop is False
    assert pd.Series([advice.reason]).str.contains(said).all(), advice.reason


def test_agreements_can_hold_a_stop_back():
    held = advise(history(FLAT), [0.99, 0.9, 0.96])
    assert (held.stop, held.agreement) == (False, 0.96)
    assert held.reason.startswith("Go on: ")
    assert held.reason.endswith("both are below 0.5, but the last 2 agreements must be at least 0.95 (got 0.9, 0.96).")
    assert advise(history(FLAT), [0.99]).stop is False
    assert advise(history(FLAT), [0.9, 0.96], stable=0.9).stop is True
    settled = advise(history(FLAT), [0.5, 0.95, 0.96])
    assert settled.stop is True
    assert settled.reason.endswith("both are below 0.5, and the last 2 agreements are at least 0.95 (got 0.95, 0.96).")
    assert advise(history(RISING), [1.0, 1.0]).stop is False


def test_too_early():
    for rounds in (history(RISING[:3]), history([*RISING[:3], np.nan])):
        advice = advise(rounds, [1.0, 1.0, 1.0])
        assert (advice.stop, advice.gain, advice.agreement) == (None, None, 1.0)
        assert advice.reason == "Too early to tell whether to go on: 3 measured rounds, 4 needed."
    assert advise(history(RISING[:0])).reason.startswith("Too early to tell whether to go on: 0 measured rounds")
    assert advise(history(RISING[:4])).stop is False


@pytest.mark.parametrize("rounds", [history([np.nan] * 5), history([None] * 5), history([0.5] * 5).drop(columns="mAP")])
def test_without_a_test_set(rounds):
    unknown = advise(rounds)
    assert unknown.stop is None
    assert unknown.reason == "Cannot tell: no round has a measured mAP; give the loop a test set."
    stop = advise(rounds, [0.5, 0.95, 0.97, 0.96])
    assert (stop.stop, stop.gain, stop.agreement) == (True, None, 0.96)
    assert "the last 3 agreements are at least 0.95 (got 0.95, 0.97, 0.96)" in stop.reason
    assert advise(rounds, [0.97, 0.97]).stop is False
    go_on = advise(rounds, [0.94, 0.97, 0.96])
    assert go_on.reason.startswith("Go on: without a measured mAP detections decide; the last 3 agreements must be")


@pytest.mark.parametrize("cost", [0.0, np.nan, [3600, 7200, 10800, 14400, 12000]])
def test_unknown_time(cost):
    advice = advise(history(RISING, cost=cost))
    assert advice.gain == pytest.approx(law(6)[5] - law(6)[4], abs=1e-4)
    assert advice.gain_per_hour is None
    assert "(50 images) is forecast to gain 1.9 mAP points, the last one" in advice.reason


def test_skipped_images_belong_to_the_round():
    rows = history(RISING, n_labelled=[50, 100, 150, 200, 240], n_skipped=[0, 0, 0, 5, 15])
    assert "(50 images, 1.0 h)" in advise(rows).reason


def test_falling():
    advice = advise(history([0.5, 0.45, 0.4, 0.38]))
    assert (advice.stop, advice.gain) == (True, 0)
    assert "forecast to gain 0 mAP points (0 an hour), the last one gained -2.0;" in advice.reason


def test_no_advice():
    with pytest.raises(ValueError, match=r"expected a history with .*, got none of cost, n_boxes"):
        advise(history(RISING).drop(columns=["cost", "n_boxes"]))
    with pytest.raises(ValueError, match="expected mAP in"):
        advise(history(100 * RISING))
    for wrong in ({"agreements": [0.5, np.nan]}, {"agreements": [95]}, {"least_gain": 0}, {"stable": 1.1}):
        with pytest.raises(ValueError, match="expected least_gain and stable in"):
            advise(history(RISING), **wrong)
