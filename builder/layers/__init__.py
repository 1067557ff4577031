"""A folder tree to the bytes of its layer, and the way back: the tar format, reading it, compressing it."""
