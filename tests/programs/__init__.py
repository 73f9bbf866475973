"""End to end: unmodified programs, compared with what they do on the host."""
