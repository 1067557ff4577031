"""Snapshots of code, run inside environments on compute targets, with everything recorded."""
