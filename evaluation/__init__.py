"""Embeddings to numbers and pictures: similarity, face verification, baselines, reports. Independent of frameworks."""
