"""From logits to the law that is sampled, and the draws from it."""
