"""What the tidy tables of comparisons show: figures, tables and the tables of docs/evidence.md."""
