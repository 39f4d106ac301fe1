"""Files to batches: formats with reader and writer side by side, sets made from photographs and from sets, the loader.

Nothing here imports a training framework, so worker processes start fast and tools need no GPU library.
"""
