"""What strangers get from a PACS: looked at from outside, without keeping any of it."""
