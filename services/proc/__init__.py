"""Processes, threads, system calls, signals, pipes, terminals, /proc."""
