"""Training drafters for a target: its own answers, its hidden states, a loop that resumes."""
