"""What to run: sample_config.py or config.py, loss, network and dataset, then the flags, as one checked Config.

- choices, option, option_groups, options: what may be set, and to what.
- config_file: the tables of sample_config.py or config.py.
- parser, hints, help: command lines, help and versions.
- train_command, verify_command: from a command line to the checked settings of a run.
- checks, complete, precision, places: relations between settings, and what follows from them.
- protocols: the entries of val_protocols.
- config: the result, which nothing changes any more.
- legacy: command lines and config.py files of older programs, rewritten before they are read.
"""
