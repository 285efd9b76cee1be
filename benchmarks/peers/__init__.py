"""Each peer's method, written from its published definition and vectorised."""
