"""A hub that cannot be reached is found out at once."""

from __future__ import annotations

import socket

import pytest

from seewhy.errors import ModelError
from seewhy.models import hub, zoo
from seewhy.models.hub import offline_if_unreachable

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def no_proxy(monkeypatch):
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")


def unknown(*_):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.usefixtures("no_proxy")
def test_without_an_address_only_the_cache_is_looked_into(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with offline_if_unreachable() as reached:
        assert reached is False
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is False
    with pytest.raises(RuntimeError, match="inside"), offline_if_unreachable():
        raise RuntimeError("inside")
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("no_proxy")
def test_with_an_address_or_a_proxy_nothing_changes(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [("an address",)])
    with offline_if_unreachable() as reached:
        assert reached is True
        assert constants.HF_HUB_OFFLINE is False
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy.invalid:8080"})
    with offline_if_unreachable() as reached:
        assert reached is True


@pytest.mark.usefixtures("no_proxy")
def test_whoever_is_offline_by_choice_is_left_so(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with offline_if_unreachable() as reached:
        assert reached is True
    assert constants.HF_HUB_OFFLINE is True


@pytest.mark.usefixtures("no_proxy")
def test_the_error_says_what_to_do(monkeypatch):
    pytest.importorskip("timm")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nowhere")
    with pytest.raises(ModelError, match=r"has no address here, and its cache .*timm/resnet10t:ra"):
        zoo.timm_model("resnet10t", False, None)
