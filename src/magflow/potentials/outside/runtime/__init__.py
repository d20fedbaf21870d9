"""What backends on PyTorch have in common; it runs beside them, and magflow imports none of it."""
