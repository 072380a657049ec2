"""What a round asks for: budgets, strategies, and what a strategy is given."""

from itertools import chain

import numpy as np
import pandas as pd
import pytest
from helpers.loops.loop import BY_THE_MEAN, FILES, POOL, TRUTH, make, queried
from helpers.noisy import CLASSES, NoisyLearner, Start

from al_rotate.data import RotatedInstances
from al_rotate.data.views import View
from al_rotate.loop import SimulatedAnnotator
from al_rotate.sampling import STRATEGIES, Budget, CostModel, needs_of
from al_rotate.workspace import artefacts


def test_the_budget_holds(tmp_path):
    with make(tmp_path, detector=Start(taught=4), budget=Budget(images=8, boxes=11), **BY_THE_MEAN) as loop:
        loop.query()
        selection = pd.read_csv(loop.workspace.folder / "rounds" / "000" / "selection.csv")
        assert 3 <= len(selection) <= 8
        assert 8 <= selection["n_shown"].clip(lower=1).sum() <= 11
    with make(tmp_path, budget=3) as loop:  # of this process alone
        loop.run(1)
        assert len(loop.query()) == 3
        assert loop.workspace.settings["budget"] == {"images": 8, "boxes": 11, "seconds": None, "cost": None}


def test_a_budget_in_time_learns_how_long_people_take(tmp_path):
    """Assumed are 5 s an image; these take a hundred."""
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, CostModel(image=100)), budget=20) as loop:
        loop.run(1)
    slow = Budget(seconds=320)
    with make(tmp_path, budget=slow) as loop:
        assert 1 <= len(loop.query()) <= 3
    assert len(slow.take(POOL.image_ids, POOL.counts)) > 5


def test_a_budget_that_covers_nothing(tmp_path):
    crowded = [i for i, image in POOL if image.n_boxes > 3]
    files = {image_id: FILES[image_id] for image_id in crowded}
    with (
        make(tmp_path, images=files, detector=Start(taught=4), budget=Budget(boxes=3)) as loop,
        pytest.raises(ValueError, match=rf"boxes=3\) covers none of the {len(crowded)} images: raise it"),
    ):
        loop.query()


def test_a_strategy_of_ones_own(tmp_path):
    def last_ones(candidates, budget, rng):
        calls.append(candidates)
        return sorted(candidates.image_ids, reverse=True)[: budget.images]

    calls = []
    with make(tmp_path, strategy=last_ones) as loop:
        history = loop.run(2)
        assert history["strategy"].tolist() == ["random", "custom"]
        (candidates,) = calls
        assert sorted(candidates.image_ids) == sorted({*FILES} - {*queried(loop.workspace)[0]})
        assert candidates.scores.size > 0
        assert queried(loop.workspace)[1] == sorted(candidates.image_ids, reverse=True)[:5]
        ranking = pd.read_csv(loop.workspace.folder / "rounds" / "001" / "ranking.csv")
        assert ranking["score"].tolist()[:5] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
        assert len(ranking) == 19
        assert ranking["score"][5:].isna().all()
        assert ranking["n_boxes"].tolist() == candidates.subset(ranking["image_id"]).counts.tolist()
    with pytest.raises(ValueError, match="strategy of your own: give it again, or a name"):
        make(tmp_path)
    with make(tmp_path, strategy="random") as loop:
        assert loop.run(3)["strategy"].tolist() == ["random", "custom", "random"]


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
def test_named_strategies(tmp_path, name):
    """What a strategy needs is made for it, and only that; a query asked again picks the same."""
    with make(tmp_path / "work", strategy=name) as loop:
        loop.run(3)
        queries = queried(loop.workspace)
        assert [len(ids) for ids in queries] == [5, 5, 5]
        assert len({*chain(*queries)}) == 15
        folder = loop.workspace.folder / "rounds" / "002"
        selection = pd.read_csv(folder / "selection.csv")
        assert selection["why"].str.startswith("Drawn at random from 14" if name == "random" else "Rank ").all()
        detections = RotatedInstances.load(folder / "detections")
        needs = needs_of(loop.strategy)
        assert (folder / "labelled_detections").exists() == ("labelled_features" in needs)
        assert any(folder.glob("views-*")) == ("views" in needs)
        assert len(detections) == 24 - 10


def test_embeddings_choose_where_no_detector_is_trained(tmp_path):
    """Two clusters, of five and of nineteen images: each gives one, where a draw may take both from the larger one."""
    vectors = [[1.0, 0.01 * k] if k < 5 else [0.01 * k, 1.0] for k in range(len(FILES))]
    file = RotatedInstances.empty([*FILES]).replace(image_features=vectors).save(tmp_path / "vectors.parquet")
    options = {"embeddings": str(file), "triage": 0.9, "duplicates": 0.001}
    with make(tmp_path / "work", strategy="pal", strategy_options=options, budget=2) as loop:
        assert loop.run(2)["strategy"].tolist() == ["pal", "pal"]
        first = queried(loop.workspace)[0]
        assert sorted(list(FILES).index(image_id) < 5 for image_id in first) == [False, True]
        ranking = pd.read_csv(tmp_path / "work" / "rounds" / "001" / "ranking.csv")
        assert {"emptiness", "repeats", "quota", "placement"} <= {*ranking}
        assert len(ranking) == len(FILES) - 2


def test_a_strategy_that_asks_for_columns_gets_them(tmp_path):
    calls = []

    def looks(candidates, budget, rng, context):
        calls.append((candidates, context))
        return list(candidates.image_ids[:2])

    looks.needs = {"class_scores", "features", "views", "labels", "labelled_features"}
    with make(tmp_path, strategy=looks) as loop:
        loop.run(2)
        (candidates, context) = calls[-1]
        assert candidates.class_scores.shape == (candidates.n_boxes, len(CLASSES))
        assert candidates.image_features.shape == (19, len(CLASSES))
        assert context.features.shape == (5, len(CLASSES))
        assert np.array_equal(context.features, context.labelled_detections.image_features)
        assert sorted(context.labelled_detections.image_ids) == sorted(queried(loop.workspace)[0])
        assert context.labels == loop.workspace.labels().subset(sorted(queried(loop.workspace)[0]))
        assert len(context.detections) == 0  # the first round queried without a trained detector
        flipped, turned = context.predict_views(candidates.image_ids[:3].tolist(), [View(flip=True), View(quarters=1)])
        assert flipped.image_ids.tolist() == turned.image_ids.tolist() == candidates.image_ids[:3].tolist()
        loop.query()
        (_, context) = calls[-1]
        assert sorted(context.detections.image_ids) == sorted(queried(loop.workspace)[1])
        # made by the weights that asked for them, before they were taught their labels
        first = RotatedInstances.load(tmp_path / "rounds" / "001" / "detections")
        plain = first.subset(context.detections.image_ids)
        assert context.detections == plain


def test_costs_are_those_of_the_answers(tmp_path):
    """Simulated people take 5 s an image, 12 for a drawn and 5 for a moved box, 2 for one taken away."""
    with make(tmp_path, budget=12, strategy="box-count") as loop:
        loop.run(2)
        assert len(loop.workspace.ledger()) == 24
    assumed, learnt = (pd.read_csv(tmp_path / "rounds" / f"00{k}" / "ranking.csv") for k in (0, 1))
    assert (assumed["expected_seconds"] == 5.0).all()  # nothing was trained: no box is predicted
    np.testing.assert_allclose(learnt["expected_seconds"], 5 + 6.5 * learnt["n_shown"])  # 12 answers are too few


def test_a_query_killed_under_another_strategy_detects_again(tmp_path):
    with make(tmp_path, strategy="entropy") as loop:
        loop.run(1)
        folder = tmp_path / "rounds" / "001"
        loop.workspace.begin_round()
        artefacts.clear_unless_made_for(folder / "detections", {})
        loop.learner.predict(
            loop.workspace.rounds()[0].checkpoint, {"image_00": FILES["image_00"]}, folder / "detections"
        )
    with make(tmp_path, strategy="entropy", strategy_options={"use_class_scores": True}) as loop:
        assert len(loop.query()) == 5
        assert len(RotatedInstances.load(folder / "detections")) == 19


def test_a_detector_that_finds_nothing_draws_at_random(tmp_path):
    class Blind(NoisyLearner):
        def _detect(self, weights, ids, view):
            return RotatedInstances.empty(ids, self.truth.classes)

    queries = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(queries))
        with make(folder, learner=Blind(TRUTH), detector=Start(taught=4), seed=seed) as loop:
            selection = loop.query()
            queries.append(selection["image_id"].tolist())
            assert {*selection["why"]} == {"Drawn at random from 24 images; nothing is detected yet."}
            assert loop.workspace.rounds()[0].strategy == "random"
            assert pd.read_csv(folder / "rounds" / "000" / "selection.csv")["figure"].isna().all()
    assert queries[0] == queries[1] != queries[2]
    assert not any(query == sorted(query) for query in queries)


def test_people_are_told_the_strategys_own_figure(tmp_path):
    told = []

    class Watched(SimulatedAnnotator):
        def push(self, query):
            told.append(query)
            super().push(query)

    with make(tmp_path, annotator=Watched(POOL)) as loop:
        loop.run(1)
        assert told[-1].figures == [None] * 5  # drawn at random
        loop.query()
    query, folder = told[-1], tmp_path / "rounds" / "001"
    uncertainty = pd.read_csv(folder / "ranking.csv").set_index("image_id")["uncertainty"]
    assert query.scores == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])  # the order of picking
    own = [uncertainty[i] for i in query.image_ids]
    assert query.figures == [None if np.isnan(value) else pytest.approx(value) for value in own]
    assert any(query.figures)
    selection = pd.read_csv(folder / "selection.csv").drop(columns="figure")
    selection.to_csv(folder / "selection.csv", index=False)  # as an older version left it
    with make(tmp_path, annotator=Watched(POOL)) as loop:
        loop.query()
    assert told[-1].figures == told[-1].scores == query.scores
    assert told[-1].whys == query.whys
