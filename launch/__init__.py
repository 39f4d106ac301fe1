"""Where a run takes place: devices, ranks, machines, and the supervisor that watches them."""
