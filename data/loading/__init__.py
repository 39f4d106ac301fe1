"""From a source to batches: order, augmentation, worker processes."""
