"""Netlink (netlink(7)): how programs ask for, and change, interfaces, addresses and routes."""
