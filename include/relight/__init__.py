"""Relight brings a lost MySQL fleet back."""
