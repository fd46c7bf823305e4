"""Rules of the review, grouped by topic; ``table.RULES`` has all of them."""
