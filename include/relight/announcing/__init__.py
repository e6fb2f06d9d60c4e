"""Telling applications where a shard takes writes, once its server is open."""
