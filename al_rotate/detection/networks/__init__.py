"""What is asked of a network beside its boxes, and how it is made quicker."""
