"""The report of a search: verdict, table, explanation, history."""
