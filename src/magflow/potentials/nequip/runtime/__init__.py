"""What runs beside nequip; magflow imports none of it."""
