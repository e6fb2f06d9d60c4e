"""The record of a run, for programs and for people."""
