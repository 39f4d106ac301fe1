"""The images of a folder, a list, a dataset or a ``.bin``, as faces of a network's size."""
