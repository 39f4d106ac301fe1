"""Models of other programs: files read into a ``NetworkGraph`` with arrays, matched with our networks, and written.

Works on descriptions and arrays only. Nothing here trains, and nothing needs the programs that wrote the files.
"""
