"""Curated bases, as data, with one reader."""
