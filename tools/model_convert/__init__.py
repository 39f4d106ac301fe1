"""Networks and weights from and to other formats."""
