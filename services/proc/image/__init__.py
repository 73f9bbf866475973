"""Programs: ELF files, the first stack, execve(2)."""
