"""Seconds are recounted by hand: at other prices, on tiles and on whole photographs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from al_rotate import CostModel
from experiments.evidence.prices import COSTS, costs_of, recounted, seconds_known

COST = CostModel(image=2, added=10, moved=0, relabelled=0, deleted=0, kept=5)
SECONDS = np.array([0.0, 100, 200, 400, 800])
OPENED = np.arange(1, 6)


def test_seconds_are_recounted_from_what_people_did(paced):
    one = paced({"random": [1.0]})
    assert recounted(one, COST).tolist() == pytest.approx((SECONDS + 2 * OPENED).tolist())
    assert recounted(one, COST, "tiles").tolist() == pytest.approx((2 * SECONDS + 2 * OPENED).tolist())
    shuffled = one.sample(frac=1, random_state=0)
    assert recounted(shuffled, COST)[one.index].tolist() == pytest.approx((SECONDS + 2 * OPENED).tolist())


def test_whole_photographs_are_opened_once_and_objects_drawn_once(paced):
    """Half a photograph a tile, at 5 s whatever a tile takes to open, and 5 objects for 6 boxes."""
    one = paced({"random": [1.0]})
    expected = 2.5 * OPENED + 2 * SECONDS * 5 / 6
    assert recounted(one, COST, "photographs").tolist() == pytest.approx(expected.tolist())


def test_what_is_known_costs_the_same_from_nothing(paced):
    two = paced({"random": [1.0, 1.0], "other": [1.0, 1.0]})
    two.loc[two["seed"] == 1, "known_boxes"] = 26
    assert seconds_known(two, COST, "tiles") == pytest.approx(8 * 2 + 25 * 10)
    assert seconds_known(two, COST, "photographs") == pytest.approx(4 * 5 + 20 * 10)


def test_one_row_scales_what_is_done_to_boxes():
    """Drawing, moving and looking take about three times as long; a class and a key press as long as before."""
    scaled, first = COSTS["35 s, moving 15 s, a look 4 s"], CostModel()
    factors = [getattr(scaled, kind) / getattr(first, kind) for kind in ("added", "moved", "kept")]
    assert factors == pytest.approx([35 / 12, 3, 8 / 3])
    assert (scaled.image, scaled.relabelled, scaled.deleted) == (first.image, first.relabelled, first.deleted)
    assert COSTS["12 s, moving 8 s"] == CostModel(added=12, moved=8)


def test_older_tables_are_refused(paced):
    one = paced({"random": [1.0]})
    with pytest.raises(ValueError, match="without asked_photographs"):
        recounted(one.drop(columns="asked_photographs"), COST, "photographs")
    with pytest.raises(ValueError, match="without known_boxes"):
        seconds_known(one.assign(known_boxes=np.nan), COST, "tiles")


def test_a_tile_is_looked_over_in_what_it_took_in_the_comparison():
    charged = costs_of(pd.DataFrame({"image_seconds": [1.5, 1.5]}))
    assert charged["35 s"] == CostModel(image=1.5, added=35)
    assert [cost.image for cost in charged.values()] == [1.5] * 4 + [5]
    assert [cost.image for cost in costs_of(pd.DataFrame()).values()] == [5] * 5  # of a comparison before that
