"""Virtual memory: address spaces, page tables, frames; see README.md."""
