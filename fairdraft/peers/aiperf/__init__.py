"""AIPerf: its profile exports."""
