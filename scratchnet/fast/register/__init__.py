"""What fits into a register, and the memory around it: vectors, their plain twins, aligned arrays, transposes."""
