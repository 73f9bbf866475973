"""The socket layer: what programs see of TCP, UDP and IP (socket(7), ip(7), tcp(7), udp(7)). Pure."""
