"""Command groups: arguments and printing only. Each command imports its work when it is called."""
