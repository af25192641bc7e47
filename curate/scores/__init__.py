"""Scores of a clip's small frames: pure functions of arrays, each beside its stage."""
