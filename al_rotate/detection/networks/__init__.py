"""Class scores and features from a detector's networks, and faster ways to compute them."""
