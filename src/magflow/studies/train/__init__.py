"""How well an ensemble meets labels: trained on some of them, held against others."""
