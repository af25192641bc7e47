"""Segments that partition a video: hard cuts, fades, dissolves, and the limits of a clip's length."""
