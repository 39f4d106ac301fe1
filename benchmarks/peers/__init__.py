"""One worker program per framework; each runs in a process, and where need be in an environment, of its own."""
