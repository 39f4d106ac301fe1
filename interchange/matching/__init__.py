"""Recognises which of our networks a foreign one is, and converts its arrays into ours."""
