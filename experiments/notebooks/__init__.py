"""Notebooks, and what they share."""
