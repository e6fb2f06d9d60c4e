"""The object store, as the rest of Relight sees it."""
