"""Many shards at once: which ones, in what order, what to start next, and what came of it."""
