"""The command `reelmill`."""
