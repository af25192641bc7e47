"""Bringing datasets of others under the contract: their clips stay as they are, an index and a version come to them."""
