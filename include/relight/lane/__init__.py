"""Lanes: what splits a log by database, and what applies one stream exactly once."""
