"""The run report: one HTML page from the run directory alone, with its numbers, pictures, text and templates."""
