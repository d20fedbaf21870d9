"""What runs beside deepmd-kit; magflow imports none of it."""
