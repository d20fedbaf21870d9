"""DFT codes and model Hamiltonians that make labels: one package per code, found through entry points."""
