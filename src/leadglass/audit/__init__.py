"""What happened: PS3.15 events in a signed Merkle log."""
