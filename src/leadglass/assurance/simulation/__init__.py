"""An invented hospital: a trail whose truth is known, to judge rules by."""
