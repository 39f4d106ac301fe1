"""What a run keeps on disk: a folder that is complete or absent, of arrays and one JSON manifest."""
