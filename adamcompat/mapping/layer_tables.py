# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""Facts of mapping.yaml that no step needs: layers and compounds."""

from __future__ import annotations

from collections.abc import Callable

from adamcompat.mapping.layers import (
    Compound,
    Layer,
    Share,
    Twins,
    Weights,
)

LAYERS: dict[str, Callable[[], Layer]] = {
    "dense": lambda: Layer(
        name="dense",
        about="Fully connected layers; MindSpore and PyTorch keep the transpose.",
        weights={
            "tensorflow": Weights(names=("kernel",), axes=("i o",)),
            "mindspore": Weights(names=("weight",), axes=("o i",)),
            "torch": Weights(names=("weight",), axes=("o i",)),
        },
    ),
    "conv": lambda: Layer(
        name="conv",
        about="Convolutions with one to three spatial axes, grouped ones too; transposed convolutions lie the same way, with input and output exchanged in all frameworks.",
        weights={
            "tensorflow": Weights(names=("kernel", "pointwise_kernel"), axes=("w i o", "h w i o", "d h w i o")),
            "mindspore": Weights(names=("weight",), axes=("o i 1 w", "o i h w", "o i d h w")),
            "torch": Weights(names=("weight",), axes=("o i w", "o i h w", "o i d h w")),
        },
    ),
    "depthwise": lambda: Layer(
        name="depthwise",
        about="Depthwise convolutions; in MindSpore and PyTorch a convolution with as many groups as channels.",
        weights={
            "tensorflow": Weights(names=("kernel", "depthwise_kernel"), axes=("w c m", "h w c m")),
            "mindspore": Weights(names=("weight",), axes=("(c m) 1 1 w", "(c m) 1 h w")),
            "torch": Weights(names=("weight",), axes=("(c m) 1 w", "(c m) 1 h w")),
        },
    ),
    "embedding": lambda: Layer(
        name="embedding",
        about="Tables of embeddings, the same in all.",
        weights={
            "tensorflow": Weights(names=("embeddings",), axes=("v d",)),
            "mindspore": Weights(names=("embedding_table", "weight"), axes=("v d",)),
            "torch": Weights(names=("weight",), axes=("v d",)),
        },
    ),
    "bias": lambda: Layer(
        name="bias",
        about="Biases.",
        weights={
            "tensorflow": Weights(names=("bias",), axes=("n",)),
            "mindspore": Weights(names=("bias",), axes=("n",)),
            "torch": Weights(names=("bias",), axes=("n",)),
        },
    ),
    "scale": lambda: Layer(
        name="scale",
        about="Scales of normalizations.",
        weights={
            "tensorflow": Weights(names=("gamma",), axes=("n",)),
            "mindspore": Weights(names=("gamma", "weight"), axes=("n",)),
            "torch": Weights(names=("weight",), axes=("n",)),
        },
    ),
    "shift": lambda: Layer(
        name="shift",
        about="Shifts of normalizations.",
        weights={
            "tensorflow": Weights(names=("beta",), axes=("n",)),
            "mindspore": Weights(names=("beta", "bias"), axes=("n",)),
            "torch": Weights(names=("bias",), axes=("n",)),
        },
    ),
    "recurrent": lambda: Layer(
        name="recurrent",
        about="A weight of a recurrent layer by itself, without the others that say how its gates lie.",
        weights={
            "tensorflow": Weights(names=("recurrent_kernel",), axes=()),
            "mindspore": Weights(names=("weight_[ih]h*", "bias_[ih]h*"), axes=()),
            "torch": Weights(names=("weight_[ih]h*", "bias_[ih]h*"), axes=()),
        },
    ),
}

COMPOUNDS: dict[str, Callable[[], Compound]] = {
    "lstm": lambda: Compound(
        name="lstm",
        about="Long short-term memory. The gates lie in the same order; MindSpore and PyTorch keep two biases, of which the layer sees the sum.",
        weights=(
            Twins(
                shares={
                    "tensorflow": Share(name="kernel", axes="i (g u)", part=None, addend=False),
                    "mindspore": Share(name="weight_ih*", axes="(g u) i", part=None, addend=False),
                    "torch": Share(name="weight_ih*", axes="(g u) i", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="recurrent_kernel", axes="U (g u)", part=None, addend=False),
                    "mindspore": Share(name="weight_hh*", axes="(g u) U", part=None, addend=False),
                    "torch": Share(name="weight_hh*", axes="(g u) U", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="bias", axes="(g u)", part=None, addend=False),
                    "mindspore": Share(name="bias_ih*", axes="(g u)", part=None, addend=False),
                    "torch": Share(name="bias_ih*", axes="(g u)", part=None, addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="bias", axes="(g u)", part=None, addend=False),
                    "mindspore": Share(name="bias_hh*", axes="(g u)", part=None, addend=True),
                    "torch": Share(name="bias_hh*", axes="(g u)", part=None, addend=True),
                },
                optional=True,
            ),
        ),
        gates={
            "tensorflow": ("i", "f", "c", "o"),
            "mindspore": ("i", "f", "c", "o"),
            "torch": ("i", "f", "c", "o"),
        },
        cell="lstm_cell",
        ways={
            "tensorflow": ("forward_*", "backward_*"),
            "mindspore": ("*", "*_reverse"),
            "torch": ("*", "*_reverse"),
        },
    ),
    "gru": lambda: Compound(
        name="gru",
        about="Gated recurrent units, as Keras has them with reset_after=True; MindSpore and PyTorch know no others.",
        weights=(
            Twins(
                shares={
                    "tensorflow": Share(name="kernel", axes="i (g u)", part=None, addend=False),
                    "mindspore": Share(name="weight_ih*", axes="(g u) i", part=None, addend=False),
                    "torch": Share(name="weight_ih*", axes="(g u) i", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="recurrent_kernel", axes="U (g u)", part=None, addend=False),
                    "mindspore": Share(name="weight_hh*", axes="(g u) U", part=None, addend=False),
                    "torch": Share(name="weight_hh*", axes="(g u) U", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="bias", axes="1 (g u)", part=(0, 2), addend=False),
                    "mindspore": Share(name="bias_ih*", axes="(g u)", part=None, addend=False),
                    "torch": Share(name="bias_ih*", axes="(g u)", part=None, addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="bias", axes="1 (g u)", part=(1, 2), addend=False),
                    "mindspore": Share(name="bias_hh*", axes="(g u)", part=None, addend=False),
                    "torch": Share(name="bias_hh*", axes="(g u)", part=None, addend=False),
                },
                optional=True,
            ),
        ),
        gates={
            "tensorflow": ("z", "r", "h"),
            "mindspore": ("r", "z", "h"),
            "torch": ("r", "z", "h"),
        },
        cell="gru_cell",
        ways={
            "tensorflow": ("forward_*", "backward_*"),
            "mindspore": ("*", "*_reverse"),
            "torch": ("*", "*_reverse"),
        },
    ),
    "rnn": lambda: Compound(
        name="rnn",
        about="Recurrent layers without gates; MindSpore and PyTorch keep two biases, of which the layer sees the sum.",
        weights=(
            Twins(
                shares={
                    "tensorflow": Share(name="kernel", axes="i u", part=None, addend=False),
                    "mindspore": Share(name="weight_ih*", axes="u i", part=None, addend=False),
                    "torch": Share(name="weight_ih*", axes="u i", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="recurrent_kernel", axes="U u", part=None, addend=False),
                    "mindspore": Share(name="weight_hh*", axes="u U", part=None, addend=False),
                    "torch": Share(name="weight_hh*", axes="u U", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="bias", axes="u", part=None, addend=False),
                    "mindspore": Share(name="bias_ih*", axes="u", part=None, addend=False),
                    "torch": Share(name="bias_ih*", axes="u", part=None, addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="bias", axes="u", part=None, addend=False),
                    "mindspore": Share(name="bias_hh*", axes="u", part=None, addend=True),
                    "torch": Share(name="bias_hh*", axes="u", part=None, addend=True),
                },
                optional=True,
            ),
        ),
        gates={},
        cell="simple_rnn_cell",
        ways={
            "tensorflow": ("forward_*", "backward_*"),
            "mindspore": ("*", "*_reverse"),
            "torch": ("*", "*_reverse"),
        },
    ),
    "attention": lambda: Compound(
        name="attention",
        about="Attention with several heads, which Keras keeps apart; MindSpore and PyTorch join queries, keys and values.",
        weights=(
            Twins(
                shares={
                    "tensorflow": Share(name="query/kernel", axes="d h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_weight", axes="(h k) d", part=(0, 3), addend=False),
                    "torch": Share(name="in_proj_weight", axes="(h k) d", part=(0, 3), addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="query/bias", axes="h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_bias", axes="(h k)", part=(0, 3), addend=False),
                    "torch": Share(name="in_proj_bias", axes="(h k)", part=(0, 3), addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="key/kernel", axes="d h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_weight", axes="(h k) d", part=(1, 3), addend=False),
                    "torch": Share(name="in_proj_weight", axes="(h k) d", part=(1, 3), addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="key/bias", axes="h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_bias", axes="(h k)", part=(1, 3), addend=False),
                    "torch": Share(name="in_proj_bias", axes="(h k)", part=(1, 3), addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="value/kernel", axes="d h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_weight", axes="(h k) d", part=(2, 3), addend=False),
                    "torch": Share(name="in_proj_weight", axes="(h k) d", part=(2, 3), addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="value/bias", axes="h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_bias", axes="(h k)", part=(2, 3), addend=False),
                    "torch": Share(name="in_proj_bias", axes="(h k)", part=(2, 3), addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="attention_output/kernel", axes="h k d", part=None, addend=False),
                    "mindspore": Share(name="out_proj.weight", axes="d (h k)", part=None, addend=False),
                    "torch": Share(name="out_proj.weight", axes="d (h k)", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="attention_output/bias", axes="d", part=None, addend=False),
                    "mindspore": Share(name="out_proj.bias", axes="d", part=None, addend=False),
                    "torch": Share(name="out_proj.bias", axes="d", part=None, addend=False),
                },
                optional=True,
            ),
        ),
        gates={},
        cell=None,
        ways={},
    ),
    "attention_apart": lambda: Compound(
        name="attention_apart",
        about="The same where keys and values have sizes of their own, so that MindSpore and PyTorch do not join the kernels.",
        weights=(
            Twins(
                shares={
                    "tensorflow": Share(name="query/kernel", axes="d h k", part=None, addend=False),
                    "mindspore": Share(name="q_proj_weight", axes="(h k) d", part=None, addend=False),
                    "torch": Share(name="q_proj_weight", axes="(h k) d", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="query/bias", axes="h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_bias", axes="(h k)", part=(0, 3), addend=False),
                    "torch": Share(name="in_proj_bias", axes="(h k)", part=(0, 3), addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="key/kernel", axes="d h k", part=None, addend=False),
                    "mindspore": Share(name="k_proj_weight", axes="(h k) d", part=None, addend=False),
                    "torch": Share(name="k_proj_weight", axes="(h k) d", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="key/bias", axes="h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_bias", axes="(h k)", part=(1, 3), addend=False),
                    "torch": Share(name="in_proj_bias", axes="(h k)", part=(1, 3), addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="value/kernel", axes="d h k", part=None, addend=False),
                    "mindspore": Share(name="v_proj_weight", axes="(h k) d", part=None, addend=False),
                    "torch": Share(name="v_proj_weight", axes="(h k) d", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="value/bias", axes="h k", part=None, addend=False),
                    "mindspore": Share(name="in_proj_bias", axes="(h k)", part=(2, 3), addend=False),
                    "torch": Share(name="in_proj_bias", axes="(h k)", part=(2, 3), addend=False),
                },
                optional=True,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="attention_output/kernel", axes="h k d", part=None, addend=False),
                    "mindspore": Share(name="out_proj.weight", axes="d (h k)", part=None, addend=False),
                    "torch": Share(name="out_proj.weight", axes="d (h k)", part=None, addend=False),
                },
                optional=False,
            ),
            Twins(
                shares={
                    "tensorflow": Share(name="attention_output/bias", axes="d", part=None, addend=False),
                    "mindspore": Share(name="out_proj.bias", axes="d", part=None, addend=False),
                    "torch": Share(name="out_proj.bias", axes="d", part=None, addend=False),
                },
                optional=True,
            ),
        ),
        gates={},
        cell=None,
        ways={},
    ),
}
