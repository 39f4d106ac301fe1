"""Prepare a process for OneFlow, import it, and patch its run time."""
