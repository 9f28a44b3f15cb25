"""The hashing field beside SODA, one file per paper, and what SODA's controls share with it."""
