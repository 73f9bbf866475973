"""Signals: state, sending, delivery."""
