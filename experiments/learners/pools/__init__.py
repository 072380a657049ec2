"""Pools as they really are: photographs cut into tiles at their native size, with their empty tiles."""
