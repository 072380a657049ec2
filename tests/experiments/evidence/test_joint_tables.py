"""What two tables say together, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from experiments.comparison.config import RECIPE
from experiments.evidence import joint_tables


@pytest.fixture
def written(tmp_path, monkeypatch, hand_made):
    """Two comparisons: `one`, and `two`, where `good` is further ahead, with a strategy that `one` lacks."""
    monkeypatch.setattr(joint_tables, "TABLES", tmp_path)
    recipe = {**dict.fromkeys(RECIPE, "x"), "budget": '{"images": 10}', "options": "{}"}
    one = hand_made.assign(strategy=lambda rows: rows["name"], **recipe)
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
    assert joint_tables.agree(["two"]).splitlines()[2:] == [
        f"| two | 3 | 2 | {alike} | {alike} | {alike} |",
        f"| two | the better 2 | 2 | {alike} | {alike} | {alike} |",
    ]

    # The differences of good are 16.5, 16.5, -18 and -18 points; `other` is always the last. Halves of one sign each
    # disagree on the better two; in the other halves good is below random.
    one = pd.read_parquet(tmp_path / "two.parquet")
    later = (one["name"] == "good") & (one["round"] > 0)
    turned = one.assign(mAP=one["mAP"] - 0.46 * later, seed=one["seed"] + 2)
    pd.concat([one, turned]).to_parquet(tmp_path / "four.parquet")
    markdown = joint_tables.agree(["four"])
    assert "| four | 3 | 4 | +0.83 (+0.50 to +1.00) |" in markdown
    assert "| four | the better 2 | 4 | +0.33 (-1.00 to +1.00) |" in markdown

    one[one["seed"] == 0].to_parquet(tmp_path / "single.parquet")
    with pytest.raises(ValueError, match=r"expected two seeds at least in single.*got 1"):
        joint_tables.agree(["single"])


def test_one_seed_against_the_others(written, tmp_path):
    two = pd.read_parquet(tmp_path / "two.parquet")
    worse = two["mAP"] - 0.1 * ((two["name"] == "good") & (two["round"] > 0))
    pd.concat([two, two.assign(mAP=worse, seed=two["seed"] + 5)]).to_parquet(tmp_path / "six.parquet")  # 0, 1, 5, 6
    lines = joint_tables.of_seed(["six", "6"]).splitlines()
    # good: 16.5 points in two seeds, 9.0 in two. other: -25, -26, -25, -26.
    assert lines[0] == "| | `good` | `other` |"
    assert lines[2:] == ["| seed 6 | +9.0 | -26.0 |", "| the others | +14.0 | -25.3 |"]


def test_pooled_seeds(written):
    markdown = joint_tables.pool(["one", "later"])
    assert markdown.startswith("| 4 seeds | AULC, images")
    # 7.5 points ahead in two seeds, 16.5 in two: Student's t with three degrees of freedom.
    half = 3.182 * 9 / np.sqrt(3) / 2
    assert f"| `good` | 42.5 | **+12.0**† [{12 - half:+.1f}, {12 + half:+.1f}]" in markdown
    assert "other" not in joint_tables.pool(["two", "later"])


def test_comparisons_that_do_not_belong_together_are_refused(written):
    with pytest.raises(ValueError, match="seeds"):
        joint_tables.pool(["one", "two"])
    for joint in (joint_tables.change, joint_tables.mistakes):
        with pytest.raises(ValueError, match="differ in nothing but"):
            joint(["one", "larger"])


def test_another_reference_than_random(written):
    markdown = joint_tables.against(["one"], "good")
    assert "| `random` | **-7.5**† [-7.5, -7.5] |" in markdown
    assert "| `good`" not in markdown


def test_side_by_side(written):
    lines = joint_tables.across(written).splitlines()
    assert lines[0] == "| less random's | one | two | mean | seeds ahead |"
    # The mean is of strategies that ran in both; the mAP of `other` is 5 % throughout.
    assert lines[2:] == ["| `good` | **+7.5**† | **+16.5**† | +12.0 | 4/4 |", "| `other` |  | **-25.5**† |  | 0/2 |"]


def test_what_mistakes_cost(written):
    markdown = joint_tables.mistakes(["two", "one"])
    assert "| `good` | 47.0 | 38.0 | 9.0 | **+7.5**† [+7.5, +7.5] | 62.5 | 50.5 |" in markdown
    assert "| `random` | 30.5 | 30.5 | 0.0 |  | 40.5 | 40.5 |" in markdown


def test_one_setting_changed(written):
    markdown = joint_tables.change(written)
    assert markdown.startswith("| AULC, 10 to 30 images | one | two |")
    assert "| `good` | 38.0 (37.5, 38.5) | 47.0 (46.5, 47.5) |" in markdown
