"""Sets made from other sets: joined, renumbered, without what a list names."""
