"""Bounds on what each system call may allocate: not there yet."""
