"""Integrations of task queues: one module each, thin, in that queue's own idiom."""
