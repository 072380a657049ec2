"""What the tidy tables of comparisons show: figures, tables and the page docs/evidence.md."""
