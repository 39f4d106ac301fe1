"""Identification on one's own set: who of a gallery is on a photo, and whether it is any of them."""
