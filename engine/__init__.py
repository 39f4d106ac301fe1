"""The training loop: batch, step, update, log, verify, save."""
