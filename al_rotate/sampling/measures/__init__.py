"""What strategies are built from, as plain functions on arrays: uncertainty, stability, diversity, coverage, quotas."""
