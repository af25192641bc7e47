"""Questions to a run: what if, why, what again, how much. All but retry and forecast only read."""
