"""Physics: arrays in, values with covariance out. `live` binds it to a running experiment."""
