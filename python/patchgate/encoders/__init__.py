"""Vision towers and their processors."""
