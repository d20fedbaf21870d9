"""How hard metals are to learn: families and their sizes on the labels of several elements, after the TM23 study."""
