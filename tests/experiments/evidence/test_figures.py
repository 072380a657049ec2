"""The figure of the claim shows the curves that its table is made of."""

import numpy as np
import pytest

from experiments.evidence.figures import saved
from experiments.evidence.savings import BALANCED, DETECTED, RANDOM


def test_the_curves_of_the_claim(paced):
    found = paced({RANDOM: [1.0] * 2, DETECTED: [2.0] * 2, BALANCED: [2.5] * 2, "best": [4.0] * 2})
    ships = found.assign(**{"AP/ship": 0.5})
    several, one = saved({"several": found, "one": ships}, "best", BALANCED, "12 s").axes
    lines = {line.get_label(): line for line in several.lines}
    nothing = ["from nothing, by whole photographs", "from nothing, by tiles"]
    assert [*lines] == [*nothing, RANDOM, DETECTED, BALANCED, "best"]
    assert [line.get_label() for line in one.lines] == [*nothing, RANDOM, DETECTED, "best"]
    assert len({lines[name].get_color() for name in (RANDOM, DETECTED, BALANCED, "best")}) == 4
    # 160 boxes of 12 s and 5 tiles of 5 s; 5 objects for 6 boxes, and half of a photograph a round
    ends = {name: line.get_xdata()[-1] for name, line in lines.items()}
    assert ends[nothing[1]] == pytest.approx((160 * 12 + 25) / 3600)
    assert ends[nothing[0]] == pytest.approx((160 * 10 + 12.5) / 3600)
    for name, faster in ((RANDOM, 1), ("best", 4)):
        assert lines[name].get_ydata()[-1] == pytest.approx(100 * np.log1p(8 * faster) / 4)
