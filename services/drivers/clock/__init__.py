"""The clock driver: what time it is."""
