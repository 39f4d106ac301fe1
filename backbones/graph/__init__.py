"""A network as data: nodes, shapes, arrays, initial values, operation counts. Needs no framework."""
