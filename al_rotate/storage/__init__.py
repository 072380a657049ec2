"""Files that survive a kill: atomic writes, locks, manifests, Parquet and JSON."""
