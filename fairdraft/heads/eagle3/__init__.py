"""EAGLE-3: a decoder layer that reads three of the target's hidden states, then its own output."""
