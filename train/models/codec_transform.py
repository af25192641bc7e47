"""A codec that is a change of basis: opponent colours x block cosine transform x Haar over frames. Nothing is learned.

All three factors are orthonormal, so decoding is the transpose, and with every coefficient kept the codec is lossless.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from shards.config import Config


class TransformCodecConfig(Config):
    """Fixed transform codec."""

    kind: Literal["transform"] = "transform"
    block_px: int = Field(
        default=4, ge=1, le=16, description="Side of a block: latents are this much smaller than the picture."
    )
    kept_coefficients: int = Field(
        default=10, ge=1, description="Lowest cosine coefficients kept per block, of block_px squared."
    )
    haar_frames: Literal[1, 2, 4] = Field(
        default=2, description="Frames that a Haar transform joins into one latent frame."
    )


class TransformCodec(nn.Module):
    """Patches of (frames, block, block, RGB) times an orthonormal basis."""

    basis_KP: Tensor
    first_frame_alone = False

    def __init__(self, config: TransformCodecConfig) -> None:
        super().__init__()
        self.frames_per_latent, self.pixels_per_latent = config.haar_frames, config.block_px
        basis = transform_basis(config.haar_frames, config.block_px, config.kept_coefficients)
        self.latent_channels = len(basis)
        self.register_buffer("basis_KP", basis.float(), persistent=False)

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents of pixels in [-1, 1]."""
        f, p = self.frames_per_latent, self.pixels_per_latent
        patches = pixels_BTCHW.unflatten(1, (-1, f)).unflatten(4, (-1, p)).unflatten(6, (-1, p))  # B T f C H p W p
        patches_BTHWP = patches.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4)
        return (patches_BTHWP @ self.basis_KP.T).movedim(-1, 2)

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels of latents: the transpose of `encode`."""
        f, p = self.frames_per_latent, self.pixels_per_latent
        patches = (z_BTCHW.movedim(2, -1) @ self.basis_KP).unflatten(-1, (f, 3, p, p))
        frames = patches.permute(0, 1, 4, 5, 2, 6, 3, 7)  # B T f C H p W p
        return frames.flatten(6, 7).flatten(4, 5).flatten(1, 2)


def transform_basis(frames: int, block_px: int, kept: int) -> Tensor:
    """Float64 orthonormal rows, shape (frames * 3 * kept, frames * 3 * block_px ** 2)."""
    cosine = dct_matrix(block_px)
    order = sorted(range(block_px**2), key=lambda index: (sum(divmod(index, block_px)), index))
    blocks_KP = torch.kron(cosine, cosine)[order[:kept]]
    return torch.kron(torch.kron(haar_matrix(frames), opponent_colours()), blocks_KP)


def dct_matrix(size: int) -> Tensor:
    """Orthonormal DCT-II, rows are frequencies (Ahmed, Natarajan and Rao 1974)."""
    k, n = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)[None]
    matrix = torch.cos(math.pi * (2 * n + 1) * k / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def haar_matrix(size: int) -> Tensor:
    """Orthonormal Haar transform for a power of two; the first row is the scaled mean."""
    if size == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    coarse = torch.kron(haar_matrix(size // 2), torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    fine = torch.kron(torch.eye(size // 2, dtype=torch.float64), torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    return torch.cat([coarse, fine]) / math.sqrt(2)


def opponent_colours() -> Tensor:
    """Orthonormal luma, red-green and blue-yellow axes of RGB."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)
