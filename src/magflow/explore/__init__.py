"""Where new frames come from: prototypes x orderings, the declared domain, moment relaxation, MD on the ensemble."""
