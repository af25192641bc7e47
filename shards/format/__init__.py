"""One shard: its tar, its arrays, its index, its completion record."""
