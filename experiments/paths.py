"""Where the experiments keep their configs and results."""

from __future__ import annotations

from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parent
REPOSITORY = EXPERIMENTS.parent
COMPARISONS = EXPERIMENTS / "configs" / "comparisons"  # one YAML file per comparison that is reported
CHOICES = EXPERIMENTS / "configs" / "choices"  # and per comparison that candidates were chosen by
DETECTORS = EXPERIMENTS / "configs" / "detectors"  # MMRotate configs
RESULTS = EXPERIMENTS / "results"
TABLES = RESULTS / "comparisons"  # one tidy Parquet file per comparison
