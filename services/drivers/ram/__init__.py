"""Physical memory: one mapping that the cores and every service share."""
