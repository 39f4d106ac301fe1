"""Campaigns: many seeded trials of one promise each. ``make test`` runs a few of each, ``make campaign`` all."""
