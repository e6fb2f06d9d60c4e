"""The proof: what a rebuilt server must hold, told from snapshot and log, against what it holds.

Nothing here changes anything. Each check says what it looked at, and what is wrong, in words.
"""
