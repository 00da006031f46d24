"""The command line: `fairdraft`, one file a verb."""
