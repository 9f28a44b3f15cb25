"""The other methods of the hashing field, one file per paper, and what SODA's controls share with them."""
