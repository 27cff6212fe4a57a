"""The paper's tables as recipes: each row one command, at full size and at sizes that run on a laptop."""
