"""What the documentation says of strategies is so."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.noisy import CLASSES, labels_of

import al_rotate as al
from al_rotate.sampling import STRATEGIES, QueryContext, make_strategy, needs_of

TEXT = (Path(__file__).parents[1] / "docs" / "strategies.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \|([^|]*)\|", TEXT, re.M))
LETTERS = {"c": "class_scores", "f": "features", "v": "views", "l": "labels", "fl": "labelled_features"}


def test_every_strategy_is_in_the_table():
    assert list(ROWS) == list(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_table_says_what_each_needs(name):
    needs = {LETTERS[letter] for letter in re.findall(r"(?<![(\w])(\w+)(?![)\w])", ROWS[name])}
    assert needs == needs_of(make_strategy(name))


def test_the_strategy_of_your_own():
    """The ten lines of the page, on a pool and labels that lack courts."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "def fewest_labels" in block)
    space = {"al": al}
    exec(code.partition("loop = ")[0], space)
    labels = labels_of(12)
    detections = labels.replace(scores=np.linspace(0.35, 0.9, labels.n_boxes))
    context = QueryContext(labels.where(labels.labels != 2))
    picked = al.select(detections, space["fewest_labels"], 3, np.random.default_rng(0), context)
    best = {i: image.scores[image.labels == 2].max(initial=0) for i, image in detections}
    assert picked == sorted(best, key=lambda i: (-best[i], i))[:3]
    assert CLASSES[2] == "court"
    assert needs_of(space["fewest_labels"]) == {"labels"}
