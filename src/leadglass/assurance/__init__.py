"""Proof: what is exposed, what is set weakly, who did what, which controls hold."""
