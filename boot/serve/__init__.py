"""`hardtack serve`: a kernel with real servers in it, at addresses of this machine.

A preset over `hardtack run -p …`, and nothing that a user could not type: `sites` says what is
served and how it is tried, `kernel` boots the kernel as a child, `clients` speak HTTP and Redis'
protocol to it, `figures` and `view` show what it does meanwhile, `install` gets what is missing.
"""
