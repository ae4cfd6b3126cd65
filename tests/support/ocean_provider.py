"""An Ocean Provider for configure to fetch from."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.datahost import DataHost, File, Held, Pattern, Request

from functions import ethereum

KEY = "0xc594c6e5def4bab63ac29eed19a134c130388f74f019bc74b8f4389df2837a58"
ADDRESS = "0xe2DD09d719Da89e5a3D0F2549c7E24566e947260"
OPERATOR = {"OPERATOR_PRIVATE_KEY": KEY}
DDO = {"id": "did:op:aa", "services": [{"id": "other"}, {"id": "svc", "serviceEndpoint": "PROVIDER"}]}


class Provider:
    """As Ocean's: routes at its root, files listed by `fileinfo`, nonces that must grow."""

    def __init__(self, host: DataHost) -> None:
        self.url = host.url
        self.assets: dict[str, list[Pattern | Held]] = {}
        self.nonce = 0
        self.overtaken = False
        self.downloads: list[dict[str, str]] = []
        self.questions: list[Any] = []
        routes = {"fileinfo": ["POST", "/api/services/fileinfo"], "download": ["GET", "/api/services/download"]}
        host.routes |= {
            "/": lambda r: r.answer(200, json.dumps({"serviceEndpoints": routes}).encode()),
            "/api/services/fileinfo": self.fileinfo,
            "/api/services/download": self.download,
        }

    def fileinfo(self, request: Request) -> None:
        question = json.loads(request.body)
        self.questions.append(question)
        files = self.assets.get(question["did"])
        answer: Any = [{"index": n, "valid": True} for n, _ in enumerate(files or ())]
        request.answer(200, json.dumps(answer if files is not None else {"error": "no such asset"}).encode())

    def download(self, request: Request) -> None:
        asked = {k: v[0] for k, v in parse_qs(urlsplit(request.path).query).items()}
        self.downloads.append(asked)
        signer = ethereum.recover(asked["documentId"] + asked["nonce"], asked["signature"])
        if signer != asked["consumerAddress"].lower():
            return request.answer(400, b'{"error": "Invalid signature"}')
        if self.overtaken or int(asked["nonce"]) <= self.nonce:
            self.overtaken = False
            return request.answer(400, b'{"error": "Invalid signature expected nonce > current nonce"}')
        self.nonce = int(asked["nonce"])
        return File(self.assets[asked["documentId"]][int(asked["fileIndex"])], break_after=1 << 20)(request)

    def remote(self, did: str = "did:op:aa", **more: Any) -> dict[str, Any]:
        """An item of a document whose files this Provider has."""
        return {"id": did, "remote": {"txId": "0xtx", "serviceId": "svc", "serviceEndpoint": self.url, **more}}

    def metadata(self, host: DataHost) -> dict[str, str]:
        """Serve the asset's DDO, which names this Provider; the `output` of a document that names its server."""
        ddo = json.dumps(DDO).replace("PROVIDER", self.url).encode()
        host.routes["/api/aquarius/assets/ddo/did:op:aa"] = lambda request: request.answer(200, ddo)
        return {"metadataUri": host.url}
