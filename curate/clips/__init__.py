"""A kept span to an exact clip file: packets copied or frames encoded, and the result decoded once more."""
