"""Evidence: records and proofs in a folder, for whoever does not trust the node."""
