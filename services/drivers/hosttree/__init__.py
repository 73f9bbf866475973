"""The host tree driver: directories and files of the host, one component at a time."""
