"""Commands that make files for other runtimes and check them."""
