"""Commands that evaluate a model by the protocols of papers: one file each."""
