def safe_radii(delta_var, delta_dist):
    return 1.0, 2.0
