"""The disk: a queue of commands in front of an image on the host."""
