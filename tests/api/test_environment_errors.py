"""A wrong environment is refused with the path of its key, or with its variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from functions.environments import load
from functions.settings import Settings
from functions.variables import SettingsError


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a: [", "is not YAML"),
        ("environments: []", "must hold a list of at least one environment"),
        ("[]", "must hold a list of at least one environment; see docs/environments.md"),
        ("- desc: x", "environments[0].id is missing"),
        ("- text", "environments[0] must be a mapping, not text"),
        ("- {id: a, maxjobs: 3}", "environments[0].maxjobs is not a known key; did you mean maxJobs?"),
        ("- {id: a, max_jobs: 3}", "environments[0].max_jobs is not a known key; did you mean maxJobs?"),
        (
            "- id: a\n- {id: b, fetch: {max_bytes: 1}}",
            "environments[1].fetch.max_bytes is not a known key; did you mean maxBytes?",
        ),
        ("- {id: a, colour: red}", "environments[0].colour is not a known key"),
        ("- {id: a, 5: 3}", "environments[0] (a key) must be text"),
        ("- {id: a, ramGB: many}", "environments[0].ramGB must be a number, not text"),
        ("- {id: a, maxJobs: 1.5}", "environments[0].maxJobs must be a whole number, not a number"),
        ("- {id: a, fetch: }", "environments[0].fetch has no value; give it one or remove the key"),
        ("- {id: a, nodeSelector: {pool: 1}}", "environments[0].nodeSelector[...] must be text, not a whole number"),
        ("- {id: a, tolerations: [{key: []}]}", "environments[0].tolerations[0][...] must be a whole number or text"),
        ("- id: a\n  maxJobs: 3\n  maxJobs: 4", "is not YAML: line 3: the key 'maxJobs' is given twice in one mapping"),
        (
            "- {id: a, fetch: {maxBytes: 3, maxBytes: 4}}",
            "is not YAML: line 1: the key 'maxBytes' is given twice in one mapping",
        ),
        ("- {id: a}\n- {id: a}", "environments[1].id 'a' is taken by an earlier environment"),
        ("- {id: ''}", "environments[0].id must not be empty"),
        ("- {id: ' '}", "environments[0].id must not be empty"),
        ("- {id: a, cpuNumber: 0}", "environments[0].cpuNumber must be above 0"),
        ("- {id: a, cpuNumber: 0.0001}", "environments[0].cpuNumber must be at least 0.001"),
        ("- {id: a, ramGB: 0.01}", "environments[0].ramGB must be at least 0.016"),
        ("- {id: a, diskGB: .inf}", "environments[0].diskGB must be a finite number"),
        ("- {id: a, maxJobs: -1}", "environments[0].maxJobs must be at least 0"),
        ("- {id: a, storageExpiry: 1000000001}", "environments[0].storageExpiry must be at most 1000000000"),
        ("- {id: a, publish: {maxFiles: 0}}", "environments[0].publish.maxFiles must be at least 1"),
        ("- {id: a, pullPolicy: sometimes}", "environments[0].pullPolicy must be one of Always, IfNotPresent, Never"),
        (
            '- {id: a, tes: {outputs: ["s3://b/", "s3://{owner}/"]}}',
            "environments[0].tes.outputs[1] must name a bucket, a host or a folder before {owner}, such as s3://bucket/",
        ),
        ('- {id: a, tes: {outputs: ["file:///{owner}"]}}', "environments[0].tes.outputs[0] must name a bucket, a host"),
        (
            '- {id: a, tes: {outputs: ["s3://b/x-{owner}"]}}',
            "environments[0].tes.outputs[0] must have {owner} as a whole",
        ),
        (
            '- {id: a, tes: {outputs: ["s3://b/{Owner}"]}}',
            "environments[0].tes.outputs[0] must have {owner} as a whole",
        ),
        (
            '- {id: a, tes: {outputs: ["b/x"]}}',
            "environments[0].tes.outputs[0] must be a URL with one of the schemes az, file",
        ),
        (
            '- {id: a, tes: {outputs: ["s4://b/x"]}}',
            "environments[0].tes.outputs[0] must be a URL with one of the schemes",
        ),
        (
            '- {id: a, tes: {outputs: ["s3:///x"]}}',
            "environments[0].tes.outputs[0] must be a URL with a bucket or a host",
        ),
        (
            '- {id: a, tes: {outputs: ["s3://b/../x"]}}',
            "environments[0].tes.outputs[0] must be a URL whose path has no",
        ),
        ("- {id: a, tes: {endpoints: {s3: minio}}}", "environments[0].tes.endpoints.s3 must be an http: or https: URL"),
        (
            "- {id: a, fetch: {endpoints: {S3: 'http://x'}}}",
            "environments[0].fetch.endpoints.S3 is no scheme of a storage",
        ),
        (
            "- {id: a, fetch: {endpoints: {s3: ''}}}",
            "environments[0].fetch.endpoints.s3 must be an http: or https: URL",
        ),
        (
            "- {id: a, fetch: {endpoints: {s3: 'https://u:hunter2@minio.example'}}}",
            "environments[0].fetch.endpoints.s3 must be a URL without user name and password",
        ),
        (
            "- {id: a, tes: {endpoints: {gs: 'https://u@minio.example'}}}",
            "environments[0].tes.endpoints.gs must be a URL without user name and password",
        ),
        (
            "- {id: a, fetch: {providers: ['https://u:hunter2@provider.example']}}",
            "environments[0].fetch.providers[0] must be a URL without user name and password",
        ),
        ("- {id: a, fetch: {providers: ['']}}", "environments[0].fetch.providers[0] must be an http: or https: URL"),
        ("- {id: a, fetch: {ipfsGateway: ''}}", "environments[0].fetch.ipfsGateway must be an http: or https: URL"),
        (
            "- {id: a, fetch: {arweaveGateway: 'arweave.net'}}",
            "environments[0].fetch.arweaveGateway must be an http: or https: URL",
        ),
        (
            '- {id: a, fetch: {buckets: ["s3://b/"]}}',
            "environments[0].fetch.buckets[0] must be a scheme and a bucket alone",
        ),
        (
            "- {id: Ocean Compute}",
            "environments[0].id is also the name of the namespace, which must be at most 63 of a-z",
        ),
        ("- {id: ../x}", "environments[0].id is also the name of the namespace, which must be"),
        (f"- {{id: {'a' * 64}}}", "environments[0].id is also the name of the namespace, which must be"),
        ("- {id: Ocean Compute, namespace: Ocean}", "environments[0].namespace must be at most 63 of a-z, 0-9 and -"),
        ("- {id: a, namespace: a.b}", "environments[0].namespace must be at most 63 of a-z, 0-9 and -"),
        ("- {id: a, pullSecret: A b}", "environments[0].pullSecret must be the name of a Kubernetes object"),
        ("- {id: a, storageClass: fast..x}", "environments[0].storageClass must be the name of a Kubernetes object"),
        ("- {id: a, runtimeClass: -x}", "environments[0].runtimeClass must be the name of a Kubernetes object"),
        ("- {id: a, queueName: team_a}", "environments[0].queueName must be the name of a Kubernetes object"),
        ("- {id: a, fetch: {schemes: [htps]}}", "environments[0].fetch.schemes[0] must be one of ar, az, file"),
    ],
)
def test_an_error_in_the_file_names_the_path_of_the_key_and_what_it_must_be(
    tmp_path: Path, content: str, text: str
) -> None:
    path = tmp_path / "environments.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=re.escape(f"ENVIRONMENTS_FILE: {text}")):
        load(Settings.load({"ENVIRONMENTS_FILE": str(path)}))


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"ENVIRONMENTS_FILE": "/nowhere"}, "ENVIRONMENTS_FILE: cannot be read: No such file"),
        ({"AQUARIUS_URL": "aquarius"}, "AQUARIUS_URL must be an http: or https: URL"),
        ({"PROVIDER_URLS": "https://a.example ftp://b"}, "PROVIDER_URLS must be an http: or https: URL"),
        ({"nCPU": "two"}, "nCPU must be a number, not text"),
        ({"nCPU": "0.0001"}, "nCPU must be at least 0.001"),
        ({"maxJobs": "1.5"}, "maxJobs must be a whole number"),
        ({"ALGO_POD_TIMEOUT": "-1"}, "ALGO_POD_TIMEOUT must be at least 1"),
        ({"PULL_POLICY": "sometimes"}, "PULL_POLICY must be one of Always, IfNotPresent, Never"),
        ({"OPERATOR_PRIVATE_KEY": "short"}, "OPERATOR_PRIVATE_KEY: a private key must be"),
    ],
)
def test_an_error_in_a_variable_names_the_variable(environ: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(text)}"):
        load(Settings.load(environ))
