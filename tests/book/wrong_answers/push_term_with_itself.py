def push_term(means, delta_dist):
    count = len(means)
    apart = (means[:, None] - means[None]).norm(dim=2)
    hinge = (2 * delta_dist - apart).clamp(min=0)
    return hinge.square().sum() / (count * (count - 1))
