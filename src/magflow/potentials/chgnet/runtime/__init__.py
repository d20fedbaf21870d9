"""What runs beside chgnet; magflow imports none of it."""
