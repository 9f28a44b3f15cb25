"""A public benchmark of search by Hamming distance; see README.md beside this file."""
