"""IJB-B and IJB-C: people are compared by templates, sets of images, instead of single images."""
