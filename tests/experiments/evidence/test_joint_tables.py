"""What two tables say together, on tables made by hand."""

import pandas as pd
import pytest

from experiments.evidence import joint_tables


@pytest.fixture
def written(tmp_path, monkeypatch, hand_made):
    """Two comparisons: `one`, and `two`, where `good` is further ahead, with a strategy that `one` lacks."""
    monkeypatch.setattr(joint_tables, "TABLES", tmp_path)
    one = hand_made.assign(budget='{"images": [10, 20, 30]}')
    later = (one["name"] == "good") & (one["round"] > 0)
    two = one.assign(mAP=one["mAP"] + 0.12 * later)
    other = two[two["name"] == "good"].assign(name="other", mAP=0.05)
    one.to_parquet(tmp_path / "one.parquet")
    pd.concat([two, other]).to_parquet(tmp_path / "two.parquet")
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


def test_side_by_side(written):
    lines = joint_tables.across(written).splitlines()
    assert lines[0] == "| less random's | one | two | mean | seeds ahead |"
    # The mean is of strategies that ran in both; the mAP of `other` is 5 % throughout.
    assert lines[2:] == ["| `good` | **+7.5**† | **+16.5**† | +12.0 | 4/4 |", "| `other` |  | **-25.5**† |  | 0/2 |"]
    lines = joint_tables.across(written, "good").splitlines()
    assert lines[0].startswith("| less good's |")
    assert lines[2] == "| `random` | **-7.5**† | **-16.5**† | -12.0 | 0/4 |"
