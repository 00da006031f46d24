"""What a model does on the CPU: products, attention and the operations between them, compiled."""
