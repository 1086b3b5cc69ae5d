"""What each call of the sandbox does."""
