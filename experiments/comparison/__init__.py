"""Runs of many strategies, seeds and rounds; each comparison leaves one tidy table."""
