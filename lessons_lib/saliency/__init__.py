"""Part V: salient objects, how they are scored, and networks that give more than one answer."""

from .alignment import e_measure
from .annealing import KLWarmup
from .attention import ChannelAttention, ResidualChannelAttention
from .autoencoder import VAE, AutoEncoder
from .boundary_f import boundary_f_measure
from .consensus import Consensus, consensus
from .counts import ThresholdScores
from .cvae import CVAE, Completer
from .dense_aspp import DenseASPP
from .depth_correction import DepthCorrectionNet, depth_loss, hide_blocks, measured_median
from .diversity import best_of_n, generalized_energy_distance, mask_distances
from .expanding import PredictionNet, expand_features
from .fusion import RGBDNet
from .gaussians import DiagonalGaussian
from .hidden_objects import hidden_labels, hide_patches, hide_salient
from .latent_nets import LatentNet, PosteriorNet, PriorNet
from .likelihood import log_likelihood
from .losses import boundary_iou_loss, brightness, smoothness_loss, structure_loss
from .mean_error import mean_absolute_error
from .pairs import Pairs, as_pairs
from .region_f import f_measure, precision_recall
from .saliency_net import Encoder, SaliencyNet, SideBySide, TopDown
from .scores import SaliencyScores
from .structure import s_measure
from .ucnet import UCNet, dropout_on, numpy_noise
from .weighted_f import weighted_f_measure

__all__ = [
    "CVAE",
    "VAE",
    "AutoEncoder",
    "ChannelAttention",
    "Completer",
    "Consensus",
    "DenseASPP",
    "DepthCorrectionNet",
    "DiagonalGaussian",
    "Encoder",
    "KLWarmup",
    "LatentNet",
    "Pairs",
    "PosteriorNet",
    "PredictionNet",
    "PriorNet",
    "RGBDNet",
    "ResidualChannelAttention",
    "SaliencyNet",
    "SaliencyScores",
    "SideBySide",
    "ThresholdScores",
    "TopDown",
    "UCNet",
    "as_pairs",
    "best_of_n",
    "boundary_f_measure",
    "boundary_iou_loss",
    "brightness",
    "consensus",
    "depth_loss",
    "dropout_on",
    "e_measure",
    "expand_features",
    "f_measure",
    "generalized_energy_distance",
    "hidden_labels",
    "hide_blocks",
    "hide_patches",
    "hide_salient",
    "log_likelihood",
    "mask_distances",
    "mean_absolute_error",
    "measured_median",
    "numpy_noise",
    "precision_recall",
    "s_measure",
    "smoothness_loss",
    "structure_loss",
    "weighted_f_measure",
]
