"""One writer per shard: who may open it is decided in the store, where exactly one of several can win."""
