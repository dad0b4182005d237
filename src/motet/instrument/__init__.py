"""What listens to runs: traces."""
