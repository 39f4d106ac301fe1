"""Two machines and a network between them that fails."""
