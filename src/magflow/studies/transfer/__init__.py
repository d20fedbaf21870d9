"""What pre-training on non-magnetic labels saves in magnetic ones."""
