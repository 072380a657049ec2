"""Label formats on disk, each read into and written from RotatedInstances."""
