import torch.nn.functional as F

from lessons_lib.convolution import bilinear_kernel


def fuse(scores, skips):
    for skip in skips:
        kernel = bilinear_kernel(scores.shape[1], 4)
        wide = F.conv_transpose2d(scores, kernel, stride=2, padding=1)
        skip += wide[..., : skip.shape[-2], : skip.shape[-1]]
        scores = skip
    return scores
