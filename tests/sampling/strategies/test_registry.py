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
        (own, {"k": 1}, "expected no options besides a strategy of your own, got k"),
    ],
)
def test_names_and_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_strategy(name, **options)
