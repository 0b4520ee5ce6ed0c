"""Metrics with their nulls, each a question in a file of its own."""
