"""Commands for users: every file answers ``--help``. They use every room; no room uses them."""
