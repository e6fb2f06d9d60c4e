"""A machine verifies its own state before anything destructive happens to it.

Runs on the machine it protects and trusts nothing remote. :mod:`relight.guard.looking` tells the story: it looks,
and changes nothing. :mod:`relight.guard.clearance` moves and removes data directories, and is the only part of
Relight that does.
"""
