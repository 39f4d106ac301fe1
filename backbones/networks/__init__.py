"""The networks, one family a file, each described as data."""
