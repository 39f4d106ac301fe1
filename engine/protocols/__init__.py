"""Evaluation protocols on small sets while training: ``val_protocols``. Embeddings come from the network as it is."""
