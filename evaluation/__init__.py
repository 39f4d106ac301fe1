"""Embeddings in, numbers and pictures out: face verification, baselines and reports. Knows no framework."""
