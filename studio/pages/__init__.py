"""One file per page: what it reads, what it shows, and its addresses (`ROUTES`)."""
