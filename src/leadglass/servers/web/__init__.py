"""The web app: pages made here, for people who have logged in."""
