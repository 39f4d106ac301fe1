"""Files of MegaFace: lists of images, lists of noisy images, and feature files of its development kit."""
