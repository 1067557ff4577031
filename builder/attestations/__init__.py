"""What is said of an image beside it: what it is made of (SBOM) and how it came to be (provenance)."""
