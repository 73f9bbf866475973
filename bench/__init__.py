"""Measurements: tables made by one command, side by side with peers."""
