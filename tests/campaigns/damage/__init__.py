"""Damaged files: every reader either reads one, or refuses it in one clear line, soon and without much memory."""
