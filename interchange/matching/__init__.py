"""Recognising which of our networks a foreign one is, and bringing its arrays into ours."""
