"""Image and text towers, lifts into a space, and the `DualEncoder` that joins them (torch)."""
