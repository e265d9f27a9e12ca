"""The demo: Python's own standard library becomes a full-text index, in jobs that can be watched and cancelled."""
