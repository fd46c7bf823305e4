"""Programs: their bearer tokens; and how far users' roles reach."""
