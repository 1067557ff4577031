"""Named, versioned environments: what was registered, and how a request finds what was built before."""
