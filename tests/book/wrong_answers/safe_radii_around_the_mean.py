def safe_radii(delta_var, delta_dist):
    return delta_var, 2 * delta_dist - 2 * delta_var
