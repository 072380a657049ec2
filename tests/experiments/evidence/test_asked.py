"""What strategies asked for: counts and shares by hand, and the costs that were charged."""

import pytest

from experiments.evidence import analysis, asked


def test_likeness_of_the_selections(hand_made):
    likeness = asked.likeness(hand_made)
    assert likeness.loc["random", "random"] == 1
    assert likeness.loc["random", "good"] == pytest.approx(1 / 3)  # one of two in common, in each round


def test_counts_are_means_over_the_seeds(hand_made):
    counts = asked.queried(hand_made)
    assert counts.loc["good", "images"] == 4
    assert counts.loc["good", "boxes"] == 100
    assert counts.loc["good", "added"] == 3


def test_the_costs_assumed_are_those_that_were_charged(finished):
    """With the annotator's own rates the recounted seconds are the loop's."""
    _, table = finished
    charged = analysis.areas(table, "seconds")["difference"]
    gains = asked.gains_by_cost(table)
    assert gains["as assumed"].tolist() == pytest.approx(charged.tolist())
    assert gains.loc["entropy-sum", "drawing takes 35 s"] != pytest.approx(charged["entropy-sum"], abs=1e-4)


def test_gains_by_class(hand_made):
    assert asked.class_gains(hand_made).loc["good", "ship"] == pytest.approx(0.1)
