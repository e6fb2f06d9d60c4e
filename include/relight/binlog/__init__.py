"""Binary log files: reading them byte by byte, and composing what is sent to a server."""
