"""Old names work until 0.3, warn at the line that uses them, and say what to use."""

import inspect
import warnings

import numpy as np
import pytest
from helpers.built import labelled, pool

import al_rotate as al
from al_rotate import sampling
from al_rotate.evaluation import label_errors
from al_rotate.sampling import Budget, NotCalibrated, QueryContext, ScoreStrategy, make_strategy, rank, select

CONTEXT = QueryContext(labelled([3, 1, 0]))
CANDIDATES = pool({"a": [(0, 0.5)], "b": [(2, 0.5)], "c": []})


def rng():
    return np.random.default_rng(0)


def warned(call, message):
    """What `call` returns; it warns once, at a line of this file."""
    with pytest.warns(DeprecationWarning, match=r"will go in 0\.3") as caught:
        value = call()
    assert [(str(w.message), w.filename) for w in caught] == [(message, __file__)]
    return value


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("Known", "al_rotate.sampling.QueryContext", QueryContext),
        ("Ranking", "al_rotate.sampling.ScoreStrategy", ScoreStrategy),
        ("Batch", "al_rotate.sampling.BatchStrategy", sampling.BatchStrategy),
        ("ranked", "al_rotate.sampling.rank_and_select", sampling.rank_and_select),
        ("suspicion", "al_rotate.evaluation.label_errors", label_errors),
    ],
)
def test_names_of_the_package(old, new, value):
    message = f"use {new}, al_rotate.sampling.{old} will go in 0.3"
    assert warned(lambda: getattr(al.sampling, old), message) is value


def test_an_imported_old_name_warns_at_the_import():
    with pytest.warns(DeprecationWarning, match=r"use al_rotate\.sampling\.QueryContext, al_rotate") as caught:
        from al_rotate.sampling import Known
    assert Known is QueryContext
    assert {w.filename for w in caught} == {__file__}


def test_an_unknown_name():
    with pytest.raises(AttributeError, match=r"module 'al_rotate\.sampling' has no attribute 'Ranked'"):
        _ = sampling.Ranked


def test_parts_that_keep_their_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sampling.calibration.fit
        assert sampling.diversity.k_center
        assert sampling.aggregate.place_empty


KNOWN = "use context=, known= will go in 0.3"


def test_known_for_context():
    options = {"weight": "class"}
    table = rank(CANDIDATES, "margin", context=CONTEXT, **options)
    assert warned(lambda: rank(CANDIDATES, "margin", known=CONTEXT, **options), KNOWN).equals(table)
    picked = select(CANDIDATES, "mus-cdb", 2, context=CONTEXT)
    assert warned(lambda: select(CANDIDATES, "mus-cdb", 2, known=CONTEXT), KNOWN) == picked
    for name in ("random", "mus-cdb"):
        strategy, budget = make_strategy(name), Budget(images=2)
        table, picked = sampling.rank_and_select(CANDIDATES, strategy, budget, rng(), CONTEXT)
        both = warned(
            lambda s=strategy, b=budget: sampling.rank_and_select(CANDIDATES, s, b, rng(), known=CONTEXT), KNOWN
        )
        assert both[0].equals(table)
        assert both[1] == picked
        ranking = warned(lambda s=strategy, b=budget: s.rank(CANDIDATES, rng(), known=CONTEXT, budget=b), KNOWN)
        assert ranking.equals(table)
        assert warned(lambda s=strategy, b=budget: s(CANDIDATES, b, rng(), known=CONTEXT), KNOWN) == picked


def test_known_as_a_parameter_of_a_function():
    def rarest(candidates, budget, rng, known):
        rare = known.class_counts(3).argmin()
        return candidates.image_ids[[rare in image.labels for _, image in candidates]][: budget.images]

    message = "use a parameter named 'context', the parameter 'known' of the strategy 'rarest' will go in 0.3"
    assert warned(lambda: select(CANDIDATES, rarest, 2, rng(), CONTEXT), message) == ["b"]


def test_apart_for_per_image():
    def scorer(candidates, rng, context):
        return {"score": candidates.counts}

    strategy = warned(lambda: ScoreStrategy(scorer, apart=True), "use per_image=, apart= will go in 0.3")
    assert strategy == ScoreStrategy(scorer, per_image=True)
    assert warned(lambda: strategy.apart, "use ScoreStrategy.per_image, ScoreStrategy.apart will go in 0.3")
    assert list(inspect.signature(ScoreStrategy).parameters) == ["scorer", "empty", "needs", "per_image", "figure"]


def test_otherwise_for_fallback_score():
    def picker(candidates, n, rng, context):
        return [2], {"otherwise": [0, 1, 0]}

    strategy = sampling.BatchStrategy(picker)
    table = warned(lambda: rank(CANDIDATES, strategy), "use fallback_score, otherwise will go in 0.3")
    assert table["image_id"].tolist() == ["c", "b", "a"]
    assert "otherwise" not in table


def test_names_of_the_context():
    context = QueryContext(views=lambda ids, views: [*ids, len(views)])
    message = "use QueryContext.missed_object_rate, QueryContext.missed_rate will go in 0.3"
    assert warned(lambda: context.missed_rate, message) == 0.5
    message = "use QueryContext.predict_views(), QueryContext.seen() will go in 0.3"
    assert warned(lambda: context.seen(["a"]), message) == ["a", 7]


@pytest.mark.parametrize("name", ["calibrated-entropy", "pal"])
@pytest.mark.parametrize("call", [rank, lambda *arguments: select(*arguments, 1), QueryContext().probabilities])
def test_not_calibrated_points_at_the_line_of_the_user(name, call):
    arguments = (CANDIDATES,) if inspect.ismethod(call) else (CANDIDATES, name)
    with pytest.warns(NotCalibrated) as caught:
        call(*arguments)
    assert [w.filename for w in caught] == [__file__]
