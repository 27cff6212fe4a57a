"""What follows a search: the choice of the best, the comparison, files and pictures."""
