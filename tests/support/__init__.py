"""What tests of a whole node share: a node in a process of its own, and peers."""
