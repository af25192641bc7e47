"""Questions to a run: what if, why, what again, how much. All but retry, republish and forecast only read."""
