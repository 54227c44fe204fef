"""The guard: a small process that owns the hazardous ports, holds the engine's lease and makes safe when it is lost.

It imports nothing but the standard library, and knows no device: what is safe, and how it is brought about and seen,
comes as data, which the engine's side composes from what the device classes declare. `specification` says the form.
"""
