import math


def released_kl(mean, log_variance, prior_mean, prior_log_variance):
    s, t = math.exp(log_variance), math.exp(prior_log_variance / 2)
    return math.log(t / s) + (s**2 + (mean - prior_mean) ** 2) / (2 * t**2) - 0.5
