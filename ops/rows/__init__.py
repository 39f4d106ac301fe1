"""Where the class rows of Partial FC and their moments lie, and how a step reads and updates a few of them."""
