"""What can be searched: one query model for C-FIND and QIDO-RS."""
