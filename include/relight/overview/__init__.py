"""Every shard of the fleet at one moment, in short: how far it is backed up, and what is proved of it."""
