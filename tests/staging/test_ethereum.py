"""Signatures, against vectors recorded from Ocean's own Provider."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import ethereum

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "provider-signatures.json").read_text())
KEY: str = RECORDED["private_key"]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("vector", RECORDED["vectors"], ids=lambda v: v["message"][-12:])
def test_signatures_and_recovered_addresses_match_those_of_oceans_provider(vector: dict[str, str]) -> None:
    assert ethereum.sign(KEY, vector["message"]) == vector["signature"]
    assert ethereum.recover(vector["message"], vector["signature"]) == RECORDED["address"].lower()


def test_an_address_has_checksum_case() -> None:
    assert ethereum.address(KEY) == RECORDED["address"]


@given(st.text(max_size=80))
def test_every_signature_recovers_to_its_signer(message: str) -> None:
    signature = ethereum.sign(KEY, message)
    assert ethereum.recover(message, signature) == RECORDED["address"].lower()


def test_v_may_be_27_or_28_and_nothing_else() -> None:
    message, signature = RECORDED["vectors"][0].values()
    raised = signature[:-2] + f"{int(signature[-2:], 16) + 27:02x}"
    assert ethereum.recover(message, raised) == RECORDED["address"].lower()
    with pytest.raises(ValueError, match="0, 1, 27 or 28"):
        ethereum.recover(message, signature[:-2] + "02")


def test_the_second_form_of_a_signature_with_the_higher_s_is_refused() -> None:
    message, signature = RECORDED["vectors"][0].values()
    s = int(signature[66:130], 16)
    twin = signature[:66] + f"{ORDER - s:064x}" + f"{1 - int(signature[-2:], 16):02x}"
    with pytest.raises(ValueError, match="lower"):
        ethereum.recover(message, twin)


@pytest.mark.parametrize("signature", ["", "0x", "0x12", "zz" * 65, "0x" + " 1" * 65, "0x" + "ff" * 64])
def test_a_malformed_signature_is_a_value_error(signature: str) -> None:
    with pytest.raises(ValueError, match="signature"):
        ethereum.recover("text", signature)


@pytest.mark.parametrize("key", ["", "0x1234", "00" * 32, "ff" * 32, "no key at all"])
def test_a_malformed_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits") as caught:
        ethereum.sign(key, "text")
    assert not key or key not in str(caught.value)
