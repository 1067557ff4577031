"""A request in, a lock out: channels, the solver, and what exported files ask for that is gone."""
