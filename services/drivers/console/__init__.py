"""The console driver: the caller's standard streams."""
