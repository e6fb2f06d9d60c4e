"""The steps of a restore and of backups. They never import each other; they hand values on."""
