"""SGLang: its benchmark rows, server info, metrics and flags."""
