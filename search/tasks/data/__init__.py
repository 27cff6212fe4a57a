"""Readers: from files and packages to arrays and texts."""
