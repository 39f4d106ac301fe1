"""Models of other programs: their files read into a ``NetworkGraph`` with arrays, matched with ours, and written.

Knows descriptions and arrays only. Nothing here trains, and nothing needs the programs that wrote the files.
"""
