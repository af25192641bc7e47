"""A child process that touches strangers' bytes: limits, messages, replacement."""
