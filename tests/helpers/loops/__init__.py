"""Workspaces, loops and reports for tests, and processes that are killed while they work on them."""
