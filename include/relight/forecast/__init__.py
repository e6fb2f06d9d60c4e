"""How long a restore takes, before and while it runs, and when a whole fleet would be back."""
