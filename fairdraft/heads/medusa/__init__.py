"""Medusa: heads on the last hidden state, one for each token ahead."""
