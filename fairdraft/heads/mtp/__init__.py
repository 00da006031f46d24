"""MTP: a layer that the target's own checkpoint brings along."""
