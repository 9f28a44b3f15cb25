"""Generated scenes: a small, seeded, licence-free data set of figures, with captions, tags and labels."""
