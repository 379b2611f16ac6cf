"""How a process starts, logs, and stops."""
