"""Scripts that answer a question with a figure; run them from the repository root with ``python -m experiments.…``."""
