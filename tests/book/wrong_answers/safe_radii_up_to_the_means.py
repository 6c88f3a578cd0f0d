def safe_radii(delta_var, delta_dist):
    return 2 * delta_var, 2 * delta_dist
