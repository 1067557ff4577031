"""The pip section: solved by uv beside what conda gives; sources become wheels in the sandbox."""
