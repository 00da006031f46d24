"""fairdraft itself: its benchmark results, step traces and settings."""
