"""Measure speed against other frameworks, as ratios within one run."""
