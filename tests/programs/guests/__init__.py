"""Programs that run on the host and inside, and print what they saw (`commands/sockets.py`)."""
