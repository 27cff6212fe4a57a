"""The released table: all trainings of the project's campaigns, and the benchmark that answers from them."""
