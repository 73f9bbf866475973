"""Codecs of the network's protocols: a library of pure functions and plain records."""
