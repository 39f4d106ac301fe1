"""Batches, backbone and head in; snapshots, logs and metrics out."""
