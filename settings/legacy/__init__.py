"""Command lines and config.py files of older programs, translated into ours."""
