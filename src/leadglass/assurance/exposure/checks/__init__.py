"""The checks, as one table: what is looked for, how bad it is, what to do."""
