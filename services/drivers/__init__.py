"""Drivers: nothing else in the kernel touches the host."""
