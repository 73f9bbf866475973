"""The emulated processor."""
