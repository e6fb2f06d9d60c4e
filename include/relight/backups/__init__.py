"""What lies in the store: manifests, the catalog, the chain of logs, packing and shipping."""
