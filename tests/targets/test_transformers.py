"""Networks of transformers, built from their configurations with random weights.

Such weights say nothing about what a map should show; what is checked is that every kind of output
is found and asked the right question.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.attribution import run
from seewhy.errors import ModelError, TargetError
from seewhy.models.outputs import find_logits
from seewhy.targets import BoxScore, Contrast, Probability, Region, Sentence, Similarity, Token

transformers = pytest.importorskip("transformers")

TOWER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
EYES = {**TOWER, "image_size": 32, "patch_size": 8}
WORDS = {**TOWER, "vocab_size": 100, "max_position_embeddings": 16}
TEXTS = torch.tensor([[98, 5, 6, 99], [98, 7, 8, 99], [98, 1, 2, 99]])
CAPTION = torch.tensor([[1, 5, 6, 7]])


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.set_verbosity_error()


@pytest.fixture
def picture() -> Tensor:
    return torch.randn(1, 3, 32, 32)


def clip() -> nn.Module:
    text = {**WORDS, "projection_dim": 16, "bos_token_id": 98, "eos_token_id": 99}
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=text, vision_config={**EYES, "projection_dim": 16}, projection_dim=16
        )
    ).eval()


def siglip() -> nn.Module:
    return transformers.SiglipModel(
        transformers.SiglipConfig(text_config=WORDS, vision_config=EYES)
    ).eval()


def gradient_of(score: Tensor, picture: Tensor) -> Tensor:
    return torch.autograd.grad(score.sum(), picture)[0]


def saliency(model: nn.Module, given: Any, target: Any, **options: Any) -> Tensor:
    return seewhy.attribute(model, given, target, method="saliency", **options)[0]


def agrees(found: Tensor, score: Tensor, picture: Tensor) -> bool:
    """Whether a saliency map is the gradient of a score that was computed without seewhy."""
    expected = gradient_of(score, picture).abs().amax(1)[0]
    return bool(expected.any()) and torch.allclose(found, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("make", [clip, siglip])
def test_the_similarity_to_a_text_is_a_class_among_the_texts(make: Any, picture: Tensor) -> None:
    model = make()
    given = {"input_ids": TEXTS, "pixel_values": picture.requires_grad_()}
    logits = model(**given).logits_per_image
    assert logits.shape == (1, 3)
    shared = {"shared": ["input_ids"]}
    for index in range(3):
        found = saliency(model, given, index, **shared)
        assert agrees(found, model(**given).logits_per_image[:, index], picture)
    found = saliency(model, given, Contrast(1, 2), **shared)
    logits = model(**given).logits_per_image
    assert agrees(found, logits[:, 1] - logits[:, 2], picture)


def test_the_image_tower_alone_is_asked_by_an_embedding(picture: Tensor) -> None:
    model = clip()
    with torch.no_grad():
        text = model.get_text_features(TEXTS[:1])
        text = text if isinstance(text, Tensor) else text.pooler_output
        whole = model(input_ids=TEXTS[:1], pixel_values=picture)
    given = {"input_ids": TEXTS[:1], "pixel_values": picture.requires_grad_()}
    found = saliency(model, given, Similarity(text), output="image_embeds")
    scale = float(model.logit_scale.detach().exp())
    expected = model(**given).logits_per_image[:, 0] / scale
    assert agrees(found, expected, picture)
    cosine = Similarity(text)(whole.image_embeds)
    assert float(cosine) == pytest.approx(float(whole.logits_per_image) / scale, abs=1e-5)

    tower = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**EYES, projection_dim=16)
    ).eval()
    assert find_logits(tower(picture)).shape == (1, 16)
    vit = transformers.ViTModel(transformers.ViTConfig(**EYES)).eval()
    assert find_logits(vit(picture)).shape == (1, 32)  # the pooler's output


def blip() -> nn.Module:
    text = {**WORDS, "encoder_hidden_size": 32, "projection_dim": 16, "pad_token_id": 0}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    return transformers.BlipForConditionalGeneration(
        transformers.BlipConfig(text_config=text, vision_config=EYES, projection_dim=16)
    ).eval()


def captioner() -> nn.Module:
    words = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=100, n_positions=16, bos_token_id=1,
        eos_token_id=2, add_cross_attention=True, is_decoder=True,
    )  # fmt: skip
    both = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**EYES), words
    )
    return transformers.VisionEncoderDecoderModel(both).eval()


@pytest.mark.parametrize(("make", "name"), [(blip, "input_ids"), (captioner, "decoder_input_ids")])
def test_a_captions_log_probability(make: Any, name: str, picture: Tensor) -> None:
    model = make()
    given = {"pixel_values": picture.requires_grad_(), name: CAPTION}
    # Position p predicts token p + 1, and the last what comes after all of them.
    logs = model(**given).logits.log_softmax(2)
    found = saliency(model, given, Sentence(CAPTION[0, 1:], start=0))
    expected = logs[0, 0, 5] + logs[0, 1, 6] + logs[0, 2, 7]
    assert agrees(found, expected, picture)
    found = saliency(model, given, "token:9")
    assert agrees(found, model(**given).logits.log_softmax(2)[0, -1, 9], picture)
    found = saliency(model, given, Probability(Token(5, 0)))
    assert agrees(found, model(**given).logits.softmax(2)[0, 0, 5], picture)


def test_an_answer_to_a_question_is_a_class(picture: Tensor) -> None:
    config = transformers.ViltConfig(**WORDS, image_size=32, patch_size=8, num_labels=5)
    model = transformers.ViltForQuestionAnswering(config).eval()
    given = {"input_ids": CAPTION, "pixel_values": picture.requires_grad_()}
    found = saliency(model, given, 3)
    assert agrees(found, model(**given).logits[:, 3], picture)


def test_a_segmentation_is_found_at_its_own_size(picture: Tensor) -> None:
    config = transformers.SegformerConfig(
        num_labels=4, hidden_sizes=[8, 16, 16, 32], depths=[1] * 4, decoder_hidden_size=16,
        num_attention_heads=[1, 1, 2, 2],
    )  # fmt: skip
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:, :16] = True  # at the picture's size, where the output is 8 × 8
    found = saliency(model, picture.requires_grad_(), Region(2, mask))
    assert agrees(found, model(picture).logits[:, 2, :, :4].mean((1, 2)), picture)


def test_boxes_of_detr_and_of_its_successors(picture: Tensor) -> None:
    config = transformers.YolosConfig(
        **{**EYES, "image_size": [32, 32]}, num_detection_tokens=5, num_labels=4
    )
    model = transformers.YolosForObjectDetection(config).eval()
    found = seewhy.explain(model, picture[0], method="saliency", target=2)
    assert isinstance(found.target, BoxScore)
    assert max(found.target.box) > 1.5  # pixels
    with torch.no_grad():
        scores = model(picture).logits.softmax(2)[0, :, 2]
    assert found.score == pytest.approx(float(scores.max()), rel=1e-5)
    assert found.probability == pytest.approx(found.score)


# --- What is taken for the scores -----------------------------------------------------------------


def clipseg() -> nn.Module:
    text = {**WORDS, "projection_dim": 16, "bos_token_id": 98, "eos_token_id": 99}
    return transformers.CLIPSegForImageSegmentation(
        transformers.CLIPSegConfig(
            text_config=text, vision_config={**EYES, "projection_dim": 16}, projection_dim=16,
            reduce_dim=16, extract_layers=[0, 1], decoder_num_attention_heads=2,
            decoder_intermediate_size=32,
        )
    ).eval()  # fmt: skip


def test_a_mask_for_a_text_is_a_map_without_an_axis_for_its_class(picture: Tensor) -> None:
    """CLIPSeg: `(batch, height, width)`, with a decoder's logits and pooled vectors beside it."""
    model = clipseg()
    given = {"input_ids": TEXTS[:1], "pixel_values": picture}
    with torch.no_grad():
        logits = model(**given).logits
    assert find_logits(model(**given)).shape == (1, 32, 32)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[4:20, 8:12] = True
    # It runs its tower under no_grad: no gradient reaches the pixels.
    for target, expected in (
        ("0@5,20", logits[:, 20, 5]),
        (Region(0, mask), logits[:, mask].mean(1)),
        (lambda maps: maps[:, 4:20, 8:12].mean((1, 2)), logits[:, mask].mean(1)),
    ):
        made = run(
            model, given, target, methods=["occlusion"], layer=None, fuse=None, output=None,
            options={"window": 8, "stride": 8},
        )  # fmt: skip
        assert torch.allclose(made.scores[:, 0], expected, atol=1e-5)
        assert made.maps[0][0].shape == (1, 1, 32, 32)
        assert made.maps[0][0].any()


def test_the_scores_of_the_whole_come_before_a_parts(picture: Tensor) -> None:
    """BLIP-2: logits, and its language model's logits beside them."""
    config = transformers.Blip2Config(
        vision_config=EYES,
        qformer_config={**WORDS, "encoder_hidden_size": 32},
        text_config={
            "model_type": "opt", "hidden_size": 32, "num_hidden_layers": 2, "ffn_dim": 64,
            "num_attention_heads": 2, "vocab_size": 100, "max_position_embeddings": 64,
            "word_embed_proj_dim": 32,
        },
        num_query_tokens=4,
        image_token_index=99,
    )  # fmt: skip
    model = transformers.Blip2ForConditionalGeneration(config).eval()
    words = torch.tensor([[99, 99, 99, 99, 5, 6]])
    given = {"pixel_values": picture.requires_grad_(), "input_ids": words}
    found = saliency(model, given, "token:7")
    assert agrees(found, model(**given).logits.log_softmax(2)[0, -1, 7], picture)


@pytest.mark.parametrize("output", ["last_hidden_state", "image_embeds"])
def test_a_token_has_no_score_among_hidden_states(picture: Tensor, output: str) -> None:
    """BLIP for answers gives embeddings, and no scores: a dimension is no word."""
    text = {**WORDS, "encoder_hidden_size": 32, "projection_dim": 16, "pad_token_id": 0}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    config = transformers.BlipConfig(text_config=text, vision_config=EYES, projection_dim=16)
    model = transformers.BlipForQuestionAnswering(config).eval()
    given = {
        "pixel_values": picture, "input_ids": torch.tensor([[1, 5, 6, 2]]),
        "decoder_input_ids": torch.tensor([[1, 5, 6]]),
    }  # fmt: skip
    with pytest.raises(ModelError, match=r"not clear which part .* image_embeds"):
        saliency(model, given, "token:5")
    with pytest.raises(TargetError, match=f"over a vocabulary, but '{output}' .* by its name"):
        saliency(model, given, "token:5", output=output)
    unnamed = {"output": lambda outputs: outputs[output]}
    with pytest.raises(TargetError, match="hidden states or embeddings, as it comes out of a lay"):
        saliency(model, given, "p:token:5 vs p:token:6", **unnamed)
    size = model(**given)[output].flatten(1).shape[1]
    assert saliency(model, given, Similarity(torch.arange(size)), output=output).any()
