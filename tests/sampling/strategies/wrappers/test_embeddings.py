"""Features from a file in place of the detector's."""

import numpy as np
import pytest
from helpers.built import labelled, pool

from al_rotate import RotatedInstances
from al_rotate.sampling import QueryContext, make_strategy, rank, select, without_detector


def embed(file, vectors):
    ids = list(vectors)
    return RotatedInstances.empty(ids).replace(image_features=[vectors[i] for i in ids]).save(file)


VECTORS = {"labelled0": [0.0, 0.0], "far": [9.0, 0.0], "near": [1.0, 0.0], "other": [5.0, 5.0]}
CANDIDATES = pool({"near": [], "far": [(0, 0.9)]}, image_features=[[9.0], [0.0]])  # the detector sees it otherwise


def test_strategies_compare_by_them(tmp_path):
    file = embed(tmp_path / "embeddings.parquet", VECTORS)
    labels = labelled([2, 0, 0]).subset(["labelled0"])
    context = QueryContext(labels, features=np.array([[0.0]]))
    assert select(CANDIDATES, "core-set", 1, None, context) == ["near"]
    table = rank(CANDIDATES, "core-set", None, context, 1, embeddings=str(file))
    assert table["image_id"].tolist() == ["far", "near"]
    assert table["diversity_gain"][0] == 9
    assert select(CANDIDATES.replace(image_features=None), "core-set", 1, embeddings=file) == ["far"]
    assert make_strategy("core-set", embeddings=file).needs == {"features", "labelled_features", "labels"}


def test_they_tell_duplicates_too(tmp_path):
    file = embed(tmp_path / "e.parquet", {"a": [1.0, 0.0], "b": [2.0, 0.0], "c": [0.0, 1.0]})
    candidates = pool({name: [(0, 0.5)] for name in "abc"})
    table = rank(candidates, "entropy", embeddings=file, duplicates=0.1)
    assert table["repeats"].tolist() == ["", "", "a"]  # at unit length


def test_a_folder_of_detections_with_features_is_one(tmp_path):
    for k, names in enumerate((["labelled0", "near"], ["far", "other"])):
        (tmp_path / "folder").mkdir(exist_ok=True)
        embed(tmp_path / "folder" / f"{k}.parquet", {name: VECTORS[name] for name in names})
    assert select(CANDIDATES, "core-set", 2, embeddings=tmp_path / "folder")[0] in ("far", "near")


def test_where_no_detector_is_trained(tmp_path):
    """Typiclust, or the strategy of the start, ranks by the embeddings; without them images are drawn."""
    vectors = {f"a{k}": [1.0, 0.01 * k] for k in range(6)} | {f"b{k}": [0.01 * k, 1.0] for k in range(3)}
    file = embed(tmp_path / "e.parquet", vectors)
    blank, rng = pool({name: [] for name in vectors}), np.random.default_rng(0)
    first = without_detector(make_strategy("pal", embeddings=file, triage=0.9))
    assert sorted(i[0] for i in select(blank, first, 2, rng)) == ["a", "b"]
    table = rank(blank, without_detector(make_strategy("pal", embeddings=file, start="core-set", duplicates=0.1)))
    assert {i[0] for i in table["image_id"][:2]} == {"a", "b"}
    assert (table["placement"] == "near-duplicate").sum() == 7
    for strategy in (make_strategy("pal"), make_strategy("pal", triage=0.9), lambda candidates, budget, rng: []):
        assert rank(blank, without_detector(strategy), rng)["drawn"].all()


def test_refusals(tmp_path):
    gone = make_strategy("core-set", embeddings=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"expected embeddings in .*nowhere, which does not exist: give"):
        rank(CANDIDATES, gone)
    file = embed(tmp_path / "e.parquet", {"far": [1.0]})
    with pytest.raises(
        ValueError, match=r"an embedding of each of 2 images in .*e.parquet, got none of 1, e.g. 'near'"
    ):
        rank(CANDIDATES, "core-set", embeddings=file)
    bare = RotatedInstances.empty(["far", "near"]).save(tmp_path / "bare.parquet")
    with pytest.raises(ValueError, match=r"expected image_features in .*bare.parquet"):
        rank(CANDIDATES, "core-set", embeddings=bare)
