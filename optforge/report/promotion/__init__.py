"""Pages and tables of a funnel."""
