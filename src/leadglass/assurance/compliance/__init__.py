"""Which controls hold: by experiment, by looking, or by somebody's signed word."""
