"""Addresses, trust and what guards them: parsed, redacted, diagnosed, bounded.

May import engine alone, and no other room of stream but the log.
"""
