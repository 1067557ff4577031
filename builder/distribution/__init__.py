"""The client's side of the OCI distribution specification 1.1: one registry, its repositories, their blobs."""
