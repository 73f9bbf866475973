"""Crash states: every image that a power cut could leave, recovered and held to the promises.

`recorder` logs what a file system does to its disk, `states` makes of the log the images that the
hardware could have left, `workload` has what is done and what must be there afterwards, and
`verdict` recovers each image and judges it. A file system takes part as a `Volume`.
"""
