"""A session: what was asked, what came, and what survives a lost socket."""
