"""The networks, one family per file, each described as data."""
