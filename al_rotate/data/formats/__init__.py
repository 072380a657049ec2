"""Label formats on disk, read into and written from RotatedInstances."""
