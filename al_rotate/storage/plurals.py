"""Counts with their nouns."""

from __future__ import annotations

__all__ = ["many"]


def many(count: int, noun: str) -> str:
    """Write a count and its noun.

    >>> many(1, "image"), many(3, "image"), many(2, "box")
    ('1 image', '3 images', '2 boxes')
    """
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith(("x", "s")) else "s")
