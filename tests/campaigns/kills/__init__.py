"""Killed commands: after being killed at any moment, the same command brings the result of an undisturbed run."""
