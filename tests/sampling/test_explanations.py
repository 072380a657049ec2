"""The sentences that explain a ranking."""

import numpy as np
import pandas as pd
import pytest

from al_rotate.sampling import explain

TABLE = pd.DataFrame(
    {
        "rank": [1, 2, 3, 4],
        "image_id": list("abcd"),
        "score": [0.9, 0.5, 0.25, 0.0],
        "n_boxes": [40, 1, 30, 0],
        "n_shown": [12, 1, 3, 0],
        "empty": [False, False, False, True],
        "placement": ["score", "score", "score", "last"],
        "expected_seconds": [70.4, 11.5, 24.5, 5.0],
        "expected_boxes": [8.0, 0.5, 1.0, 0.0],
        "uncertainty_mean": [0.6, 0.5, 0.2, np.nan],
        "uncertainty_max": [0.6, 0.6, 0.3, np.nan],
    }
)


def test_parts_and_their_places():
    """Of the three images with a box the first has the highest mean; of the worst boxes two are alike."""
    sentences = explain(TABLE)
    assert sentences[0] == (
        "Rank 1 of 4: the highest mean uncertainty; uncertainty of its worst box above 50 % of the images; "
        "12 boxes to correct, about 70 s of labelling."
    )
    last = "Rank 4 of 4: no box is predicted: placed last; 0 boxes to correct, about 5 s of labelling."
    assert sentences[3] == last
    assert explain(TABLE, ["d", "a"]) == [sentences[3], sentences[0]]


def test_what_it_was_ranked_by_comes_first():
    by_max = TABLE.assign(score=[0.6, 0.6, 0.3, 0.0])
    assert explain(by_max)[0].startswith(
        "Rank 1 of 4: uncertainty of its worst box above 50 % of the images; the highest mean uncertainty; "
    )


def test_only_parts_that_speak_for_it():
    third = explain(TABLE, ["c"])[0]
    assert third == "Rank 3 of 4: 3 boxes to correct, about 24 s of labelling."


def test_a_saved_table_says_the_same(tmp_path):
    table = TABLE.assign(quota=["ship", "", "", ""], calibrated=False)
    table.to_csv(tmp_path / "ranking.csv", index=False)
    assert explain(pd.read_csv(tmp_path / "ranking.csv")) == explain(table)
    assert "asked for the class ship, of which there are few labels" in explain(table)[0]
    assert all("scores are not calibrated yet" in sentence for sentence in explain(table))


def test_an_older_table_says_the_same(tmp_path):
    TABLE.rename(columns={"placement": "placed"}).to_csv(tmp_path / "ranking.csv", index=False)
    older = pd.read_csv(tmp_path / "ranking.csv")
    assert "placed" in older
    assert explain(older) == explain(TABLE)


def test_columns_of_your_own():
    table = TABLE.drop(columns=["uncertainty_mean", "uncertainty_max"]).assign(cloud_free_share=[0.1, 0.9, 0.3, 0.2])
    assert "the highest cloud free share" in explain(table)[1]


def test_nothing_detected_and_random():
    nothing = TABLE.assign(n_boxes=0, drawn=True).drop(columns=["uncertainty_mean", "uncertainty_max", "placement"])
    assert explain(nothing)[0] == "Drawn at random from 4 images; nothing is detected yet."


def test_an_unknown_image():
    with pytest.raises(KeyError, match="no image 'z' in this ranking of 4"):
        explain(TABLE, ["a", "z"])
