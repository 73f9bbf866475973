"""Start-up: configuration, topology, supervision and the command line; see README.md."""
