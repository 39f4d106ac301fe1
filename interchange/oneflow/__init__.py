"""Checkpoint folders of older OneFlow ports."""
