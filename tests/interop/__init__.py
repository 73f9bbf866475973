"""Hardtack's network against Linux's own, over taps between network namespaces."""
