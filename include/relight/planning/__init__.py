"""From a catalog and a target to a plan, before anything is written."""
