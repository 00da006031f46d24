"""One step of the machine: schedule, run, verify, update, propose."""
