"""Audit trails, ours and foreign ones, as one kind of facts that can be asked."""
