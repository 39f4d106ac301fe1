"""Verification sets: ``.bin`` files and OFRecord parts."""
