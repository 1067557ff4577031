"""A local conda channel out of PyPI wheels and a CPython, for sites that cannot reach a conda channel."""
