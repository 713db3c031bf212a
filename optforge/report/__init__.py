"""Sentences, tables, pictures and pages about the results of all other rooms."""
