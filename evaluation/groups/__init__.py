"""Compare groups of people: accuracy, accept rates at one threshold, false accepts within and across groups."""
