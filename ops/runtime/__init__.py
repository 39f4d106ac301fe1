"""Preparing a process for OneFlow, importing it, and patches to its run time."""
