"""Files to batches: one file per format (reader and writer side by side), sample order, augmentation and the loader.

Nothing here imports a training framework, so worker processes start fast and tools need no GPU library.
"""
