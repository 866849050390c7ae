"""Sums of products: the register tile, the loops around it, and the ways to leave out zeros or multiplications.

Read `tile.py`, then `loops.py`; `sparse.py` and `points.py` can be read on their own. The inner loops below do the
multiply-adds of all matrix products and convolutions, except for a pointwise convolution of one channel. LANES is the
number of lanes of a register. acc is a tuple of vectors that stay in registers.

loop            computes                                        needs                           called by
--------------- ----------------------------------------------- ------------------------------- -----------------------
tile            acc[m, :] = sum over r, k of                    COLUMNS numbers of each row of  product_rows
                A[m, r, k] * B[r, k, :]                         B that can be read; rows of A   product_over_images
                                                                at any address                  sums_of_shards_kernel
                                                                                                winograd_forward_kernel
                                                                                                winograd_dw_kernel
lanewise_tile   acc[m, j] = sum over r, k of                    the narrow tile; count numbers  lanewise_rows
                A[m, r, k, j] * B[r, k, j],  j < count          at each address                 lanewise_over_images
sliding_tile    the same; neighbouring rows share loads         rows of A that begin a_k        lanewise_rows
                                                                apart
add_products    acc[v] += sum over e of values[e] *             a list of nonzeros; LANES       add_slab
                b[places[e] * step + offsets[v] :][:LANES]      numbers of b at each address    sparse_dw_kernel
                                                                                                sparse_dx_kernel
add_slab        total[m] += sum over e of values[e] *           a slab of a panel of B that     product_kernel
                right[places[e]],  for all rows m               fits into the L1 cache
transform       a square tile -> matrix @ tile @ matrix^T,      a matrix whose rows come in     weights_kernel
                LANES channels at once                          pairs, for points p and -p      transform_tiles
                                                                                                write_image
                                                                                                winograd_dw_kernel
few_rows_kernel out = a @ b + bias for a handful of rows        b is read once, in place        few_rows_times

`add_to` and `add_part_to` store a tile: acc plus a bias, or acc plus what the output already holds. Every loop adds in
the order of r and k, so a result depends on its arguments alone. No loop checks that an address is inside an array: the
caller makes sure.
"""
