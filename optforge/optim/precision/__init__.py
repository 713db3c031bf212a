"""Numbers of 16 and 8 bits: rounding that loses no small steps, and momentum in 8 bits."""
