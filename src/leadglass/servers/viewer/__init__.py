"""The viewer that the web app shows images in."""
