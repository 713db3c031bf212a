"""Every sentence, table, picture and page about what the rooms below found."""
