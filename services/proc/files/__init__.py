"""Kinds of open files."""
