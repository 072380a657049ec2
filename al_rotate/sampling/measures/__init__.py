"""The parts of strategies as plain functions on arrays: scores of boxes and images, distances, quotas, coverage."""
