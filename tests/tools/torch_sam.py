"""SAM and its adapters in PyTorch, as the published code computes them: what tests/tools/torch_peer.py times.

Eager, random weights, float32. Written for the shape of the work: the same products on the same numbers of rows,
padding of windows included, which the published code carries along.
"""
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


def relative(table, n):
    """(n, n, d) of a table, resized by lines as the published code does where it was made for another side."""
    if table.shape[0] != 2 * n - 1:
        table = F.interpolate(table.t()[None], size=2 * n - 1, mode='linear')[0].t()
    at = torch.arange(n)
    return table[at[:, None] - at[None, :] + n - 1]


class Attention(nn.Module):
    """Over grids of h x w, with decomposed relative positions."""

    def __init__(self, width, heads, side):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(0.1 * torch.randn(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(0.1 * torch.randn(2 * side - 1, width // heads))

    def forward(self, x):
        b, h, w, width = x.shape
        n, d = h * w, width // self.heads
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, b * self.heads, n, d).unbind(0)
        scores = (q * d ** -0.5) @ k.transpose(-2, -1)
        grid = q.reshape(b * self.heads, h, w, d)
        rel_h = torch.einsum('bhwc,hkc->bhwk', grid, relative(self.rel_pos_h, h))
        rel_w = torch.einsum('bhwc,wkc->bhwk', grid, relative(self.rel_pos_w, w))
        scores = scores.view(-1, h, w, h, w) + rel_h[..., :, None] + rel_w[..., None, :]
        p = scores.view(-1, n, n).softmax(dim=-1)
        y = (p @ v).view(b, self.heads, h, w, d).permute(0, 2, 3, 1, 4).reshape(b, h, w, width)
        return self.proj(y)


def fold(n):
    """The published near-square grid of n slices."""
    rows = next(r for r in range(int(n ** 0.5), 0, -1) if n % r == 0)
    return rows, n // rows


class Block(nn.Module):
    """adapters: none, 2d, 3d. A batch is a stack of slices with 3d, and nothing else."""

    def __init__(self, width, heads, window, grid, adapters):
        super().__init__()
        self.window, self.adapters = window, adapters
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.lin1 = nn.Linear(width, 4 * width)
        self.lin2 = nn.Linear(4 * width, width)
        if adapters != 'none':
            self.Space_Adapter = Adapter(width, True)
            self.MLP_Adapter = Adapter(width, False)
        if adapters == '3d':
            self.Depth_Adapter = Adapter(width, False)

    def depth(self, x, slices):
        """Attention through the slices at each place of the windows, padding included."""
        b, h, w, width = x.shape
        rows, cols = fold(slices)
        y = x.view(slices, -1, width).transpose(0, 1).reshape(-1, rows, cols, width)
        y = self.Depth_Adapter(self.attn(self.norm1(y)))
        return y.view(-1, slices, width).transpose(0, 1).reshape(b, h, w, width)

    def within(self, x, slices):
        if self.adapters == 'none':
            return self.attn(x)
        y = self.Space_Adapter(self.attn(self.norm1(x)))
        return y + self.depth(x, slices) if self.adapters == '3d' else y

    def attend(self, x):
        """SAM pads after its norm, MSA before it."""
        slices = x.shape[0]
        if self.adapters == 'none':
            x = self.norm1(x)
        if not self.window:
            return self.within(x, slices)
        b, g, _, width = x.shape
        w = self.window
        side = (g + w - 1) // w
        x = F.pad(x, (0, 0, 0, side * w - g, 0, side * w - g))
        x = x.view(b, side, w, side, w, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, w, w, width)
        x = self.within(x, slices)
        x = x.view(b, side, side, w, w, width).permute(0, 1, 3, 2, 4, 5).reshape(b, side * w, side * w, width)
        return x[:, :g, :g]

    def forward(self, x):
        x = x + self.attend(x)
        n = self.norm2(x)
        y = self.lin2(F.gelu(self.lin1(n)))
        return x + y if self.adapters == 'none' else x + y + 0.5 * self.MLP_Adapter(n)


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
    def __init__(self, size, width, depth, heads, adapters):
        super().__init__()
        grid = size // 16
        is_global = {(i + 1) * (depth // 4) - 1 for i in range(4)}
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.pos = nn.Parameter(0.1 * torch.randn(1, grid, grid, width))
        self.blocks = nn.Sequential(*[Block(width, heads, 0 if i in is_global else 14, grid, adapters)
                                      for i in range(depth)])
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
    """Prompt encoder and mask decoder, for boxes (n, 4) on one image."""

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

    def forward(self, embedding, boxes):
        grid, n = embedding.shape[-1], boxes.shape[0]
        sparse = self.code((boxes.view(n, 2, 2) + 0.5) / self.size) + self.corners
        tokens = torch.cat([self.tokens.expand(n, -1, -1), sparse], dim=1)
        k = (embedding + self.no_mask[:, None, None]).flatten(2).transpose(1, 2)
        k = k.repeat_interleave(n, dim=0)
        q = tokens
        for layer in self.layers:
            q, k = layer(q, k, tokens, self.pos)
        q = self.final_norm(q + self.final(q + tokens, k + self.pos, k))
        image = k.transpose(1, 2).view(n, PROMPT, grid, grid)
        up = F.gelu(self.up2(F.gelu(self.up_norm(self.up1(image)))))
        weights = torch.stack([m(q[:, 1 + i]) for i, m in enumerate(self.hyper)], 1)
        masks = (weights @ up.flatten(2)).view(n, 4, 4 * grid, 4 * grid)
        return masks, self.iou(q[:, 0])
