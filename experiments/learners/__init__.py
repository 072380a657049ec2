"""What learns in the experiments, from a planted pool to a whole detector, and the data it learns from."""
