"""Rehearsals: what they break on purpose to see whether it is found, and what they have proved so far."""
