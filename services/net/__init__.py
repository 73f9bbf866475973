"""The network: IP, TCP, UDP and their sockets."""
