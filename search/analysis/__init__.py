"""What a found PatternSet owes to which of its parts."""
