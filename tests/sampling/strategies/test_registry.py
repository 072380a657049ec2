"""Names and options of strategies."""

import pytest

from al_rotate.sampling import make_strategy


def own(candidates, budget, rng):
    return []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("entropie", {}, r"expected a strategy among random, .*, got 'entropie'. Did you mean 'entropy'\?"),
        ("zzz", {}, "got 'zzz'.$"),
        ("entropy", {"hwo": "max"}, r"options of 'entropy' among \(how, k, empty, use_class_scores, weight\), got hwo"),
        ("random", {"how": "max"}, r"options of 'random' among \(\), got how"),
        ("entropy", {"how": "median"}, "expected how to be one of"),
        ("entropy", {"empty": "drop"}, "expected empty to be one of"),
        ("entropy", {"use_class_scores": "yes"}, "expected use_class_scores to be True, False or 'auto', got 'yes'"),
        ("random", {"hwo": 1}, r"among \(\), got hwo; all strategies have start, weak_below, per_scene, scene, triage"),
        ("pal", {"audit": 0.2}, "expected the option triage with audit, which changes nothing without it"),
        ("pal", {"scene": "(.*)/.*"}, "expected the option per_scene with scene"),
        ("pal", {"weak_below": 0.2}, "expected the option start with weak_below"),
        (own, {"k": 1}, "expected no options besides a strategy of your own, got k"),
    ],
)
def test_names_and_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_strategy(name, **options)


def test_an_option_of_the_strategy_itself_counts_for_it():
    """The hybrid has a share of scenes and a bound of its own."""
    hybrid = make_strategy("hybrid", per_scene=1, scene="(.*)/.*", weak_below=0.5, duplicates=None)
    assert (hybrid.picker.per_scene, hybrid.picker.scene, hybrid.picker.weak_below) == (1, "(.*)/.*", 0.5)
