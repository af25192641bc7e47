"""One script per reader: each runs in a process, and in an environment, of its own, and imports nothing from here."""
