"""From other optimizers, their settings and their saved states."""
