"""The files of IJB-B and IJB-C as they are distributed."""
