"""Commands that convert datasets."""
