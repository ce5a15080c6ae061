"""Model definitions of our own: one transformer, its heads, and a table for each checkpoint family."""
