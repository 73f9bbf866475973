"""The entropy driver: the only source of randomness."""
