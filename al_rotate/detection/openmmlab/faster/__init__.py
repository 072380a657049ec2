"""Training at the machine's pace: what MMRotate computes image by image and tensor by tensor, computed at once."""
