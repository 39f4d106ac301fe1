"""From embeddings to the loss: class rows, how they are split over the ranks, and which of them are sampled."""
