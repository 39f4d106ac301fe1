"""Margins: what a loss does to the cosines before the softmax, one file each."""
