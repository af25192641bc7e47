"""What is kept: rules over columns, duplicates, the decision, and the proofs that nothing was lost on the way."""
