"""Check a dataset: what is bad in it, what occurs twice, and a set without that."""
