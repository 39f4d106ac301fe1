"""Command lines and config.py files of older programs, rewritten in the flags and keys of this one.

- flags: the table of older flags, which are the keys of older files, too.
- values, translation: what those mean that set no key as they are.
- command: a command line, rewritten before it is read.
- config_file: a config.py, read for one choice of network, dataset and loss.
- arcface_torch: its config files, which python_values reads without running them, by the table of arcface_keys.
"""
