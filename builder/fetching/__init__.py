"""What a lock promises, brought and verified; who we are for private places."""
