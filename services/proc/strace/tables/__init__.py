"""Tables of Linux x86-64 constants, as data."""
