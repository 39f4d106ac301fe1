"""Runtimes; a module has ``load(path, size, threads, **options) -> Loaded`` and runs in a worker."""
