"""The socket layer: what programs see of TCP, UDP and IP (socket(7), ip(7)). Pure."""
