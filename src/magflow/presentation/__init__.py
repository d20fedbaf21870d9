"""What a person sees: tables, figures, sections and pages, and how numbers and quantities are written in them."""
