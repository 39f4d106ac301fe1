"""Commands that meet full, read-only, forbidden and slow disks, and limits of memory and open files."""
