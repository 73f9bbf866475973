"""The IP stack: interfaces, addresses, routes, neighbours, fragments and ICMP."""
