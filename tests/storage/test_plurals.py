"""Counts with their nouns."""

import pytest

from al_rotate.storage.plurals import many


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "image", "0 images"), (1, "image", "1 image"), (2, "box", "2 boxes"), (1, "class", "1 class")],
)
def test_many(count, noun, text):
    assert many(count, noun) == text
