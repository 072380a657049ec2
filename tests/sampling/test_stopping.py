"""When to stop: agreement by hand, and each way the rule can go."""

import numpy as np
import pandas as pd
import pytest
from helpers.built import upright

from al_rotate import RotatedInstances
from al_rotate.sampling.stopping import advise, agreement


def history(mean_ap, images=50, hours=1.0, **columns):
    """A history of rounds of equal size, all trained."""
    number = np.arange(len(mean_ap))
    frame = pd.DataFrame({"round": number, "stage": "trained", "strategy": "entropy", "mAP": mean_ap})
    frame = frame.assign(n_queried=images * (number + 1), n_labelled=images * (number + 1), n_skipped=0)
    frame = frame.assign(n_boxes=8 * frame["n_labelled"], cost=3600 * hours * (number + 1))
    return frame.assign(**columns)


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


# The rule.


SAID = " The last round (50 images, 1.3 h) gained 2.7 mAP points; what another one would gain is not forecast."


def test_three_agreements_decide():
    rows = history([0.5, 0.55, 0.577], hours=1.3)
    go_on = advise(rows, [0.99, 0.9, 0.96, 0.97])
    assert (go_on.stop, go_on.agreement) == (False, 0.97)
    assert go_on.reason == (
        "Go on: detections of the last 4 rounds have to agree, each with the one before, by at least 0.95 to stop "
        "(got 0.9, 0.96, 0.97)." + SAID
    )
    stop = advise(rows, [0.5, 0.95, 0.96, 0.97])
    assert (stop.stop, stop.agreement) == (True, 0.97)
    assert stop.reason == (
        "Stop: detections of the last 4 rounds agree, each with the one before, by at least 0.95 "
        "(got 0.95, 0.96, 0.97)." + SAID
    )
    assert advise(rows, [0.5, 0.95, 0.96, 0.97], stable=0.96).stop is False


def test_the_curve_does_not_decide():
    """Flat or rising: what mAP did is named, and no more."""
    for mean_ap in ([0.6] * 8, [0.1, 0.2, 0.3, 0.4]):
        assert advise(history(mean_ap), [1.0] * 3).stop is True
        assert advise(history(mean_ap), [0.9] * 3).stop is False


def test_too_early():
    advice = advise(history([0.1, 0.2, 0.4]), [1.0, 0.98])
    assert (advice.stop, advice.agreement) == (None, 0.98)
    assert advice.reason.startswith(
        "Too early to tell: detections of consecutive rounds were compared 2 times, 3 are needed. The"
    )
    nothing = advise(history([]))
    assert (nothing.stop, nothing.agreement) == (None, None)
    assert nothing.reason == "Too early to tell: detections of consecutive rounds were compared 0 times, 3 are needed."


@pytest.mark.parametrize("rounds", [history([np.nan] * 5), history([None] * 5), history([0.5] * 5).drop(columns="mAP")])
def test_without_a_test_set(rounds):
    assert advise(rounds).stop is None
    stop = advise(rounds, [0.5, 0.95, 0.97, 0.96])
    assert stop.stop is True
    assert stop.reason.endswith("(got 0.95, 0.97, 0.96).")


def test_what_the_last_round_measured():
    """An open round, one that was not measured, skipped images, unknown time, a fall."""
    rows = history([0.2, 0.3, np.nan, 0.2896, 0.9])
    rows["n_skipped"] = [0, 0, 5, 15, 15]
    rows.loc[4, "stage"] = "queried"
    assert "The last round (115 images, 2.0 h) lost 1.0 mAP points;" in advise(rows).reason
    assert "The last round (115 images) lost" in advise(rows.assign(cost=0.0)).reason
    assert "The last round (1 image, 1.0 h) gained 0.5 mAP" in advise(history([0.2, 0.205], images=1)).reason
    assert "The last round (1 image, 1.0 h) gained 0 mAP" in advise(history([0.2, 0.19999], images=1)).reason
    assert "The last round (1 image, 1.0 h) lost 51.5 mAP" in advise(history([0.6, 0.085], images=1)).reason


def test_no_advice():
    with pytest.raises(ValueError, match=r"expected a history with .*, got none of n_skipped, cost"):
        advise(history([0.5]).drop(columns=["cost", "n_skipped"]))
    for wrong in ({"agreements": [0.5, np.nan]}, {"agreements": [95]}, {"stable": 1.1}):
        with pytest.raises(ValueError, match="expected stable in"):
            advise(history([0.5]), **wrong)
    with pytest.warns(DeprecationWarning, match="least_gain= has no effect"):
        assert advise(history([0.5] * 4), [1.0] * 3, least_gain=0.005).stop is True
