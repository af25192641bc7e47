"""Sampling: from noise and text to video."""
