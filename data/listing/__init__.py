"""List the images of a dataset of any kind: positions of a few bytes each, and readers that survive damage."""

from data.listing.base import Found, Listing, Request
from data.listing.open import open_listing

__all__ = ["Found", "Listing", "Request", "open_listing"]
