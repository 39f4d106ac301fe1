"""Compare models on the same sets: tables, differences with confidence intervals, one page."""
