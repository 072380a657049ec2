"""What two tables say together, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest
import tables_together
from comparison_cells import RECIPE
from test_compare_strategies import hand_made


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Two comparisons: `one`, and `two`, where `good` is further ahead, with a strategy that `one` lacks."""
    monkeypatch.setattr(tables_together, "RESULTS", tmp_path)
    recipe = {**dict.fromkeys(RECIPE, "x"), "budget": '{"images": 10}', "options": "{}"}
    one = hand_made().assign(strategy=lambda rows: rows["name"], **recipe)
    later = (one["name"] == "good") & (one["round"] > 0)
    two = one.assign(mAP=one["mAP"] + 0.12 * later)
    other = two[two["name"] == "good"].assign(name="other", strategy="other", mAP=0.05)
    one.to_parquet(tmp_path / "one.parquet")
    pd.concat([two, other]).to_parquet(tmp_path / "two.parquet")
    two.assign(seed=two["seed"] + 2).to_parquet(tmp_path / "later.parquet")
    one.assign(size="y").to_parquet(tmp_path / "larger.parquet")
    return ["one", "two"]


def test_halves_of_the_seeds_agree_or_not(written, tmp_path):
    alike = "+1.00 (+1.00 to +1.00)"
    assert tables_together.agree(["two"]).splitlines()[2:] == [
        f"| two | 3 | 2 | {alike} | {alike} | {alike} |",
        f"| two | the better 2 | 2 | {alike} | {alike} | {alike} |",
    ]

    # Of four seeds two say the opposite of good, and more so: 16.5, 16.5, -18 and -18 points; `other` is always the
    # last. Halved by what they say they disagree on the better two, halved otherwise both find good below random.
    one = pd.read_parquet(tmp_path / "two.parquet")
    later = (one["name"] == "good") & (one["round"] > 0)
    turned = one.assign(mAP=one["mAP"] - 0.46 * later, seed=one["seed"] + 2)
    pd.concat([one, turned]).to_parquet(tmp_path / "four.parquet")
    said = tables_together.agree(["four"])
    assert "| four | 3 | 4 | +0.83 (+0.50 to +1.00) |" in said
    assert "| four | the better 2 | 4 | +0.33 (-1.00 to +1.00) |" in said

    one[one["seed"] == 0].to_parquet(tmp_path / "single.parquet")
    with pytest.raises(ValueError, match=r"expected two seeds at least in single.*got 1"):
        tables_together.agree(["single"])


def test_one_seed_against_the_others(written, tmp_path):
    two = pd.read_parquet(tmp_path / "two.parquet")
    worse = two["mAP"] - 0.1 * ((two["name"] == "good") & (two["round"] > 0))
    pd.concat([two, two.assign(mAP=worse, seed=two["seed"] + 5)]).to_parquet(tmp_path / "six.parquet")  # 0, 1, 5, 6
    said = tables_together.of_seed(["six", "6"]).splitlines()
    # good: 16.5 points in two seeds, 9.0 in two. other: -25, -26, -25, -26.
    assert said[0] == "| | `good` | `other` |"
    assert said[2:] == ["| seed 6 | +9.0 | -26.0 |", "| the others | +14.0 | -25.3 |"]


def test_pooled_seeds(written):
    said = tables_together.pool(["one", "later"])
    assert said.startswith("| 4 seeds | AULC, images")
    # 7.5 points ahead in two seeds, 16.5 in two: Student's t with three degrees of freedom.
    half = 3.182 * 9 / np.sqrt(3) / 2
    assert f"| `good` | 42.5 | **+12.0**† [{12 - half:+.1f}, {12 + half:+.1f}]" in said
    assert "other" not in tables_together.pool(["two", "later"])


def test_what_does_not_belong_together_is_refused(written):
    with pytest.raises(ValueError, match="seeds"):
        tables_together.pool(["one", "two"])
    for together in (tables_together.change, tables_together.mistakes):
        with pytest.raises(ValueError, match="differ in nothing but"):
            together(["one", "larger"])


def test_against_another_than_random(written):
    said = tables_together.against(["one"], "good")
    assert "| `random` | **-7.5**† [-7.5, -7.5] |" in said
    assert "| `good`" not in said


def test_side_by_side(written):
    said = tables_together.across(written).splitlines()
    assert said[0] == "| less random's | one | two | mean | seeds ahead |"
    # The mean is of what was run everywhere; the third has 5 % throughout.
    assert said[2:] == ["| `good` | **+7.5**† | **+16.5**† | +12.0 | 4/4 |", "| `other` |  | **-25.5**† |  | 0/2 |"]


def test_what_mistakes_cost(written):
    said = tables_together.mistakes(["two", "one"])
    assert "| `good` | 47.0 | 38.0 | 9.0 | **+7.5**† [+7.5, +7.5] | 62.5 | 50.5 |" in said
    assert "| `random` | 30.5 | 30.5 | 0.0 |  | 40.5 | 40.5 |" in said


def test_one_setting_changed(written):
    said = tables_together.change(written)
    assert said.startswith("| AULC, 10 to 30 images | one | two |")
    assert "| `good` | 38.0 (37.5, 38.5) | 47.0 (46.5, 47.5) |" in said
