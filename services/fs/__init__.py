"""The file system service: the tree of names, the page cache, locks and watches."""
