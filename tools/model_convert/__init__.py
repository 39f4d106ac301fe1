"""Commands that convert networks and weights from and to other formats."""
