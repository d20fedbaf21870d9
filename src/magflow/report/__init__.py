"""One HTML page about a campaign: a record of what it left, figures, and the template that joins them."""
