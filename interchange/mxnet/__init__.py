"""MXNet checkpoints (symbol.json and params): read and written."""
