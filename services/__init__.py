"""The kernel's services; each is reached through its api alone."""
