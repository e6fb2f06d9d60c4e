"""One mysqld and its machine: sessions, start and stop, throw-away copies."""
