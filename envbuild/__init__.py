"""From a conda environment file to a reproducible OCI image and a recorded training run."""

__version__ = "0.1.0"
