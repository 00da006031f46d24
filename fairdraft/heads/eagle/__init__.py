"""EAGLE: a decoder layer that writes the target's last hidden state on."""
