"""Search of probes in a gallery: the best matches, counts above thresholds, histograms of scores; exact."""
