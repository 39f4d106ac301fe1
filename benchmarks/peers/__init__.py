"""One worker program per framework, run in a separate process and, if needed, a separate environment."""
