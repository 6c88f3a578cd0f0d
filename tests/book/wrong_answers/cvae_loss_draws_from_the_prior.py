import torch


def cvae_loss(decode, posterior, prior, noise, target, sigma):
    z = prior.mean + torch.exp(prior.log_variance / 2) * noise
    error = (decode(z) - target).square().sum(1) / (2 * sigma**2)
    kl = posterior.kl(prior)
    return (error + kl).mean()
