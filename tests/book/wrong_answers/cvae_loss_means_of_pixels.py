import torch


def cvae_loss(decode, posterior, prior, noise, target, sigma):
    z = posterior.mean + torch.exp(posterior.log_variance / 2) * noise
    error = (decode(z) - target).square().mean(1) / (2 * sigma**2)
    kl = posterior.kl(prior)
    return (error + kl).mean()
