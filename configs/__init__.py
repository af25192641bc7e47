"""Presets as package data: `reelmill curate run curate/scan_only …` finds them by name."""
