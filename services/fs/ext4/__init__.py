"""The journalled file system on a disk: ext4 with JBD2. See README.md."""
