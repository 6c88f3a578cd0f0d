import torch


def cvae_loss(decode, posterior, prior, noise, target, sigma):
    with torch.no_grad():
        z = posterior.sample(noise)
        error = (decode(z) - target).square().sum(1) / (2 * sigma**2)
        return (error + posterior.kl(prior)).mean()
