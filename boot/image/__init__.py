"""`hardtack image`: disk images that the kernel, Linux and e2fsprogs all understand."""
