"""How any rule becomes the step of an optimizer."""
