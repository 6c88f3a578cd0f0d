import math


def released_kl(mean, log_variance, prior_mean, prior_log_variance):
    s = math.exp(log_variance)
    return -math.log(s) + (s**2 + mean**2) / 2 - 0.5
