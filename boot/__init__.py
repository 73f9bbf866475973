"""Start-up: configuration, topology, supervision and the command line; see README.md."""

VERSION = "0.1.0"
