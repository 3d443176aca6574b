"""What would break a compiled pipeline on a backend, told before it is submitted."""
