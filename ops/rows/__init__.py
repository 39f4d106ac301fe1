"""Store the class rows of Partial FC and their moments, and read and update the rows of a step."""
