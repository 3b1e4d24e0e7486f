"""What is trained and why, and how it is packed into tasks. Pure."""
