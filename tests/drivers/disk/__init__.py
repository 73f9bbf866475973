"""Does the disk keep its promises, and its order, when things go wrong?"""
