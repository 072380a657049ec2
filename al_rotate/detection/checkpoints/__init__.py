"""A model's weights: files that are read without running code of theirs, and what of them fits a model."""

from .weights import Checkpoint, init_weights_quietly, model_digest, read_checkpoint, write_checkpoint

__all__ = ["Checkpoint", "init_weights_quietly", "model_digest", "read_checkpoint", "write_checkpoint"]
