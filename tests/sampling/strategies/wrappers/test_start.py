"""One strategy while the detector is weak, another from then on."""

import numpy as np
import pytest
from helpers.built import overconfident, pool

from al_rotate.sampling import QueryContext, explain, make_strategy, rank
from al_rotate.sampling.strategies.wrappers.start import is_weak

CANDIDATES = pool(
    {"a": [(0, 0.5)], "b": [(0, 0.99)], "c": [(1, 0.98)]}, image_features=[[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]]
)


def rng():
    return np.random.default_rng(0)


def answered():
    detections, labels = overconfident()
    return QueryContext(labels, detections, np.array([[0.0, 0.0]]))


def test_it_switches_once_scores_are_calibrated_and_the_detector_finds_something():
    detections, labels = overconfident()
    few = QueryContext(labels.subset(labels.image_ids[:5]), detections.subset(labels.image_ids[:5]))
    assert is_weak(QueryContext(), 0)
    assert is_weak(few, 0)
    assert not is_weak(answered(), 0.1)
    # 97 % of the planes and half of the ships are right: a good detector, though not as good as that.
    assert 0.1 < answered().held_out_map < 0.99
    assert is_weak(answered(), 0.99)


def test_the_first_strategy_then_the_second():
    first = rank(CANDIDATES, "entropy", rng(), QueryContext(features=np.array([[0.0, 0.0]])), 1, start="core-set")
    assert first["image_id"].tolist()[0] == "c"
    assert (first["start"] == "core-set").all()
    assert "picked by core-set, since the detector is still weak" in explain(first)[0]
    then = rank(CANDIDATES, "entropy", rng(), answered(), 1, start="core-set")
    assert then["image_id"].tolist()[0] == "a"
    assert then.equals(rank(CANDIDATES, "entropy", rng(), answered(), 1))
    again = rank(CANDIDATES, "entropy", rng(), answered(), 1, start="core-set", weak_below=0.99)
    assert again["image_id"].tolist()[0] == "c"


def test_it_needs_what_both_need_and_tells_the_seconds_figure():
    both = make_strategy("pal", start="typiclust")
    assert both.needs == {"features", "labelled_features", "labels"}
    assert both.figure == "uncertainty"


def test_refusals():
    with pytest.raises(ValueError, match=r"expected weak_below to be a mAP in \[0, 1\], got 2"):
        make_strategy("pal", start="typiclust", weak_below=2)
    with pytest.raises(ValueError, match=r"expected weak_below to be a mAP in \[0, 1\], got 'low'"):
        make_strategy("pal", start="typiclust", weak_below="low")
    with pytest.raises(ValueError, match=r"expected a strategy among .*, got 'typclust'. Did you mean 'typiclust'"):
        make_strategy("pal", start="typclust")
    with pytest.raises(ValueError, match="expected a strategy among"):
        make_strategy("pal", start=3)
