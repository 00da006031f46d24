"""TensorRT-LLM: its iteration statistics."""
