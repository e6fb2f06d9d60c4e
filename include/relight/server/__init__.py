"""One mysqld and its machine: sessions, start and stop, the guard, throw-away copies."""
