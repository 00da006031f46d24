"""Made-up fleets whose trouble is known, simulated step by step and printed as engines print."""
