"""The interface of our own: JSON documents over HTTPS."""
