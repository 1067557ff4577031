"""Readers of what people have: each takes one kind of file and gives an `EnvironmentSpec`, or one sentence."""
