"""Sums of products: the register tile, the loops around it, and the forms that leave out zeros or multiplications."""
