"""TCP as a pure machine: segments and time go in, segments come out; see README.md."""
