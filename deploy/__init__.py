"""Models as files of other runtimes: convert, quantise, and run the result beside the snapshot.

Each runtime is loaded in a process of its own (``deploy.worker``), in the environment that has its package. Modules of
``deploy.runtimes`` and ``deploy.conversions`` run there: they import the standard library, NumPy and their package.
"""
