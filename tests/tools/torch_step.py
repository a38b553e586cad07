#!/usr/bin/python3
"""A training step of a SAM ViT-B with adapters in PyTorch, for the eye and for `msa bench --beside`; no test needs it.

usage: torch_step.py [--image-size N] [--threads N] [--repeat N] [--set adapters|adapters+decoder|all]
                     [--width C --depth L --heads H] [--encoder]

One picture, one box, Dice + BCE, the mean square error of the predicted IoU, Adam, as `msa bench --train` does it;
eager, random weights. --encoder: the forward pass of the image encoder alone. The last line is the median in
milliseconds and the peak memory. Debian's PyTorch comes with a slow BLAS: compare with
LD_PRELOAD=libopenblas.so.0 in front.
"""
import argparse
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

PROMPT = 256  # width of neck, prompts and decoder


class Adapter(nn.Module):
    def __init__(self, width, skip):
        super().__init__()
        self.skip = skip
        self.D_fc1 = nn.Linear(width, width // 4)
        self.D_fc2 = nn.Linear(width // 4, width)

    def forward(self, x):
        y = self.D_fc2(F.gelu(self.D_fc1(x)))
        return x + y if self.skip else y


class Attention(nn.Module):
    """Over a grid of side n, with decomposed relative positions."""

    def __init__(self, width, heads, n):
        super().__init__()
        self.heads, self.n = heads, n
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(0.1 * torch.randn(2 * n - 1, width // heads))
        self.rel_pos_w = nn.Parameter(0.1 * torch.randn(2 * n - 1, width // heads))

    def forward(self, x):
        b, n, _, width = x.shape
        d = width // self.heads
        qkv = self.qkv(x).reshape(b, n * n, 3, self.heads, d).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, b * self.heads, n * n, d).unbind(0)
        scores = (q * d ** -0.5) @ k.transpose(-2, -1)
        at = torch.arange(n)
        distance = at[:, None] - at[None, :] + n - 1
        grid = q.reshape(b * self.heads, n, n, d)
        rel_h = torch.einsum('bhwc,hkc->bhwk', grid, self.rel_pos_h[distance])
        rel_w = torch.einsum('bhwc,wkc->bhwk', grid, self.rel_pos_w[distance])
        scores = scores.view(-1, n, n, n, n) + rel_h[..., :, None] + rel_w[..., None, :]
        p = scores.view(-1, n * n, n * n).softmax(dim=-1)
        y = (p @ v).view(b, self.heads, n, n, d).permute(0, 2, 3, 1, 4).reshape(b, n, n, width)
        return self.proj(y)


class Block(nn.Module):
    def __init__(self, width, heads, window, grid):
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.lin1 = nn.Linear(width, 4 * width)
        self.lin2 = nn.Linear(4 * width, width)
        self.Space_Adapter = Adapter(width, True)
        self.MLP_Adapter = Adapter(width, False)

    def attend(self, x):
        if not self.window:
            return self.Space_Adapter(self.attn(self.norm1(x)))
        b, g, _, width = x.shape
        w = self.window
        side = (g + w - 1) // w
        x = F.pad(x, (0, 0, 0, side * w - g, 0, side * w - g))
        x = x.view(b, side, w, side, w, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, w, w, width)
        x = self.Space_Adapter(self.attn(self.norm1(x)))
        x = x.view(b, side, side, w, w, width).permute(0, 1, 3, 2, 4, 5).reshape(b, side * w, side * w, width)
        return x[:, :g, :g]

    def forward(self, x):
        x = x + self.attend(x)
        n = self.norm2(x)
        return x + self.lin2(F.gelu(self.lin1(n))) + 0.5 * self.MLP_Adapter(n)


class ChannelNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        d = x - mean
        return self.weight[:, None, None] * d / (d.pow(2).mean(1, keepdim=True) + 1e-6).sqrt() + self.bias[:, None, None]


class Encoder(nn.Module):
    def __init__(self, size, width, depth, heads):
        super().__init__()
        grid = size // 16
        is_global = {(i + 1) * (depth // 4) - 1 for i in range(4)}
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.pos = nn.Parameter(0.1 * torch.randn(1, grid, grid, width))
        self.blocks = nn.Sequential(*[Block(width, heads, 0 if i in is_global else 14, grid) for i in range(depth)])
        self.neck = nn.Sequential(nn.Conv2d(width, PROMPT, 1, bias=False), ChannelNorm(PROMPT),
                                  nn.Conv2d(PROMPT, PROMPT, 3, padding=1, bias=False), ChannelNorm(PROMPT))

    def forward(self, image):
        x = self.patch(image).permute(0, 2, 3, 1) + self.pos
        return self.neck(self.blocks(x).permute(0, 3, 1, 2))


class CrossAttention(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(PROMPT, inner) for _ in range(3))
        self.out = nn.Linear(inner, PROMPT)

    def forward(self, q, k, v):
        def heads(x):
            return x.view(x.shape[0], x.shape[1], 8, -1).transpose(1, 2)
        q, k, v = heads(self.q(q)), heads(self.k(k)), heads(self.v(v))
        p = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return self.out((p @ v).transpose(1, 2).flatten(2))


class TwoWay(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.first = first
        self.self_attention = CrossAttention(PROMPT)
        self.to_image, self.to_tokens = CrossAttention(PROMPT // 2), CrossAttention(PROMPT // 2)
        self.norms = nn.ModuleList(nn.LayerNorm(PROMPT) for _ in range(4))
        self.lin1, self.lin2 = nn.Linear(PROMPT, 2048), nn.Linear(2048, PROMPT)

    def forward(self, q, k, tokens, pos):
        if self.first:
            q = self.self_attention(q, q, q)
        else:
            q = q + self.self_attention(q + tokens, q + tokens, q)
        q = self.norms[0](q)
        q = self.norms[1](q + self.to_image(q + tokens, k + pos, k))
        q = self.norms[2](q + self.lin2(F.relu(self.lin1(q))))
        return q, self.norms[3](k + self.to_tokens(k + pos, q + tokens, q))


def head(out):
    return nn.Sequential(nn.Linear(PROMPT, PROMPT), nn.ReLU(), nn.Linear(PROMPT, PROMPT), nn.ReLU(),
                         nn.Linear(PROMPT, out))


class Decoder(nn.Module):
    """Prompt encoder and mask decoder, for a box."""

    def __init__(self, size):
        super().__init__()
        self.size, grid = size, size // 16
        self.register_buffer('gauss', torch.randn(2, PROMPT // 2))
        self.corners = nn.Parameter(torch.randn(2, PROMPT))
        self.no_mask = nn.Parameter(torch.randn(PROMPT))
        self.tokens = nn.Parameter(torch.randn(5, PROMPT))
        self.layers = nn.ModuleList([TwoWay(True), TwoWay(False)])
        self.final, self.final_norm = CrossAttention(PROMPT // 2), nn.LayerNorm(PROMPT)
        self.up1 = nn.ConvTranspose2d(PROMPT, PROMPT // 4, 2, 2)
        self.up_norm = ChannelNorm(PROMPT // 4)
        self.up2 = nn.ConvTranspose2d(PROMPT // 4, PROMPT // 8, 2, 2)
        self.hyper = nn.ModuleList(head(PROMPT // 8) for _ in range(4))
        self.iou = head(4)
        at = (torch.arange(grid) + 0.5) / grid
        self.register_buffer('pos', self.code(torch.stack(torch.meshgrid(at, at, indexing='xy'), -1)).view(1, -1, PROMPT))

    def code(self, at):
        u = 2 * torch.pi * ((2 * at - 1) @ self.gauss)
        return torch.cat([u.sin(), u.cos()], dim=-1)

    def forward(self, embedding, box):
        grid = embedding.shape[-1]
        sparse = self.code((box.view(2, 2) + 0.5) / self.size) + self.corners
        tokens = torch.cat([self.tokens, sparse])[None]
        k = (embedding + self.no_mask[:, None, None]).flatten(2).transpose(1, 2)
        q = tokens
        for layer in self.layers:
            q, k = layer(q, k, tokens, self.pos)
        q = self.final_norm(q + self.final(q + tokens, k + self.pos, k))
        image = k.transpose(1, 2).view(1, PROMPT, grid, grid)
        up = F.gelu(self.up2(F.gelu(self.up_norm(self.up1(image)))))
        weights = torch.stack([m(q[:, 1 + i]) for i, m in enumerate(self.hyper)], 1)
        masks = (weights @ up.flatten(2)).view(1, 4, 4 * grid, 4 * grid)
        return masks, self.iou(q[:, 0])


def loss_of(masks, iou, target):
    logits = F.interpolate(masks[:, :1], size=target.shape[-2:], mode='bilinear', align_corners=False)
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum() + 1e-5) / (p.square().sum() + target.square().sum() + 1e-5)
    with torch.no_grad():
        found = logits > 0
        inside = (found & (target > 0)).sum()
        actual = inside / (found.sum() + target.sum() - inside).clamp(min=1)
    return dice + F.binary_cross_entropy_with_logits(logits, target) + (iou[0, 0] - actual).square()


def freeze(encoder, decoder, which):
    for name, p in list(encoder.named_parameters()) + [('decoder.' + n, q) for n, q in decoder.named_parameters()]:
        decoder_trains = which == 'adapters+decoder' and name.startswith('decoder.')
        p.requires_grad_(which == 'all' or '_Adapter' in name or decoder_trains)
    return [p for m in (encoder, decoder) for p in m.parameters() if p.requires_grad]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--image-size', type=int, default=256)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--set', default='adapters', choices=['adapters', 'adapters+decoder', 'all'])
    parser.add_argument('--width', type=int, default=768)
    parser.add_argument('--depth', type=int, default=12)
    parser.add_argument('--heads', type=int, default=12)
    parser.add_argument('--encoder', action='store_true')
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    size = a.image_size
    encoder, decoder = Encoder(size, a.width, a.depth, a.heads), Decoder(size)
    trained = freeze(encoder, decoder, a.set)
    optimizer = torch.optim.Adam(trained, lr=1e-4)
    image = 2 * torch.rand(1, 3, size, size) - 1
    at = torch.arange(size) * 2 - size
    target = (4 * (at[:, None] ** 2 + at[None, :] ** 2) < size * size).float()[None, None]
    box = torch.tensor([0.25, 0.25, 0.75, 0.75]) * size

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*decoder(encoder(image), box), target)
        loss.backward()
        optimizer.step()

    def forward():
        with torch.no_grad():
            encoder(image)

    times, cpu_times, run = [], [], forward if a.encoder else step
    run()  # the first one touches the memory
    for _ in range(a.repeat):
        began, cpu_began = time.perf_counter(), time.process_time()
        run()
        times.append(1e3 * (time.perf_counter() - began))
        cpu_times.append(1e3 * (time.process_time() - cpu_began))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print('%.1f ms, %.1f of all cores, %.0f MiB, torch %s, %.2f M trained' % (
        statistics.median(times), statistics.median(cpu_times), peak, torch.__version__,
        sum(p.numel() for p in trained) * 1e-6))


if __name__ == '__main__':
    main()
