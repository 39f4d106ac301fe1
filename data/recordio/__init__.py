"""RecordIO, MXNet's record format: frames, training sets, and what is wrong with one."""
