"""Ranking and selection from large pools."""
