"""GuideLLM: its benchmark reports."""
