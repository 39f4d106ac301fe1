"""Look closer at a verification: the pairs that fail, the scores of all pairs, PCA."""
