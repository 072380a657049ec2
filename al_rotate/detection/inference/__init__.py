"""From images to detections: decoding, batching, forward passes, shards on disk, several processes."""
