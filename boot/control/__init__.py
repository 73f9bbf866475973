"""Commands to a running kernel: the socket, who may use it, and both of its ends."""
