"""The families of changes to a training image, one file each; ``data.augment`` puts them together."""
