"""Deformation of hcp iron in a Kawai-type cell with two differential rams (D111) at a white-beam synchrotron station.

`world.D111` is the facade that simulated instruments talk to. Below it: `press`, `furnace`, `rheology` and `hazards`
advance one `state` on a fixed grid (`trajectory`), `beam` and `motion` are functions of time alone, `crystals`,
`equations_of_state`, `texture`, `diffraction` and `radiograph` turn a state into what detectors see.
"""
