"""Children: the compiled training that serves every trial, and what it is placed on."""
