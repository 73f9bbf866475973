"""The bus: typed requests between services; see README.md."""
