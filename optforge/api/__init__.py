"""The public face: a function and its options for each verb."""
