"""Evaluation of detections and labels: rotated mAP, calibration, corrections, label errors, learning curves."""

from .mean_ap import COCO_THRESHOLDS, Evaluation, average_precision, best_overlaps, evaluate, true_positives

__all__ = ["COCO_THRESHOLDS", "Evaluation", "average_precision", "best_overlaps", "evaluate", "true_positives"]
