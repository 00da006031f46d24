"""Draft models cut out of their target."""
