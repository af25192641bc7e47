"""Versions of a dataset: publishing, comparing, withdrawing, compacting, exporting, verifying."""
