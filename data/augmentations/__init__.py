"""The families of random changes of training images, one per file; ``data.loading.augment`` combines them."""
