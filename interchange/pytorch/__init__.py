"""PyTorch state dicts: read without PyTorch, and written."""
