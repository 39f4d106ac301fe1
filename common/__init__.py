"""Small helpers that every room may use: user errors, atomic files, progress bars."""
