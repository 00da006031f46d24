"""DFlash: layers that fill in a whole block of masked tokens in one pass."""
