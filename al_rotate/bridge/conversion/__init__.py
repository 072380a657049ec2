"""Conversion between Label Studio's formats and ours: boxes, classes, tasks, annotations, exports."""
