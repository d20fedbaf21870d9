"""What a potential says of a material: one property, one file, one protocol (:mod:`magflow.properties.base`)."""
