"""killer: takes heap back when the kernel's is short."""
