"""The NIC driver: descriptor rings on one side, the host's network on the other."""
