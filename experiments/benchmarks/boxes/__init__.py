"""Rotated IoU and NMS against mmcv and shapely."""
