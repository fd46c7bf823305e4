"""People whom somebody else knows: what their provider says, and what it is worth."""
