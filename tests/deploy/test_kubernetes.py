"""The manifests for Kubernetes: each is valid, and what must hold of them holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from cds_service.__main__ import app
from cds_service.settings import Settings
from cds_service.web.server import _PATIENCE_SECONDS

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.34")  # 1.30 is the first in which `preStop` can sleep
# Kustomize's own, and those that an operator brings: no schema of Kubernetes knows them.
OTHERS = {"Kustomization", "Component", "ServiceMonitor"}
NAME = {"app.kubernetes.io/name": "cds-service"}


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        yield path.relative_to(FOLDER).as_posix(), yaml.safe_load(path.read_text(encoding="utf-8"))


MANIFESTS = dict(manifests())
DEPLOYMENT = MANIFESTS["base/deployment.yaml"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(SERVICE,) = POD["containers"]
(GUARD,) = POD["initContainers"]


def kind(name: str) -> Any:
    (found,) = (manifest for manifest in MANIFESTS.values() if manifest["kind"] == name)
    return found


# ---- Each by itself


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name, manifest in MANIFESTS.items() if manifest["kind"] not in OTHERS])
def test_a_manifest_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_an_invalid_manifest_would_be_found() -> None:
    spoilt = json.loads(json.dumps(DEPLOYMENT))
    spoilt["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="readinessProb"):
        kubernetes_validate.validate(spoilt, VERSIONS[0], strict=True)


def test_each_file_is_named_by_the_kustomization_beside_it() -> None:
    for folder in ("base", "hospital", "prometheus-operator"):
        kustomization = MANIFESTS[f"{folder}/kustomization.yaml"]
        generated = kustomization.get("configMapGenerator", [])
        files = [file for one in generated for file in (*one.get("files", ()), *one.get("envs", ()))]
        named = {*kustomization.get("resources", []), *files, "kustomization.yaml"}

        assert {name for name in named if not name.startswith("..")} == {
            path.name for path in (FOLDER / folder).iterdir()
        }
        assert all((FOLDER / folder / name).exists() for name in (*named, *kustomization.get("components", ())))


# ---- The pod


@pytest.mark.parametrize("container", [SERVICE, GUARD], ids=["service", "guard"])
def test_a_container_fits_the_restricted_standard_for_pods_and_writes_to_no_disk(container: dict[str, Any]) -> None:
    around, own = POD["securityContext"], container["securityContext"]

    assert around["runAsNonRoot"] is own["runAsNonRoot"] is True
    assert around["runAsUser"] > 0
    assert around["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] is True
    assert POD["automountServiceAccountToken"] is False
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(POD)
    assert [volume["name"] for volume in POD["volumes"] if "emptyDir" in volume] == ["tmp"]
    assert next(volume["emptyDir"]["medium"] for volume in POD["volumes"] if volume["name"] == "tmp") == "Memory"


def test_a_database_that_is_down_kills_no_process_and_only_turns_calls_away() -> None:
    assert {SERVICE[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/healthz"}
    assert SERVICE["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert SERVICE["readinessProbe"]["timeoutSeconds"] > 5  # how long a database that hangs is waited for


def test_a_pod_is_waited_for_longer_than_the_service_takes_to_leave() -> None:
    assert (
        POD["terminationGracePeriodSeconds"] > SERVICE["lifecycle"]["preStop"]["sleep"]["seconds"] + _PATIENCE_SECONDS
    )


def test_secrets_are_named_and_never_written_down() -> None:
    settings_py = (FOLDER.parents[1] / "cds_service" / "settings.py").read_text(encoding="utf-8")
    secrets = set(re.findall(r"\bCDS_[A-Z_]*(?:KEY|TOKEN|SECRET|DATABASE|EXPLANATIONS)\b", settings_py))

    assert {one["name"] for one in SERVICE["env"]} == secrets
    for one in SERVICE["env"]:
        must = one["name"] in {"CDS_DATABASE", "CDS_AUDIT_KEY", "CDS_METRICS_TOKEN"}
        assert one["valueFrom"]["secretKeyRef"] == {"name": "cds-service", "key": one["name"]} | (
            {} if must else {"optional": True}
        )
    assert "Secret" not in {manifest["kind"] for manifest in MANIFESTS.values()}
    settings = dict(line.split("=", 1) for line in (FOLDER / "hospital/settings.env").read_text().splitlines())
    assert set(settings).isdisjoint(one["name"] for one in SERVICE["env"])
    made_up = {one["name"]: "" for one in SERVICE["env"]} | {"CDS_AUDIT_KEY": "A" * 43 + "="}
    Settings.from_environment(settings | made_up).fit_for_production()


POSTGRESQL = "postgresql://cds:secret@database/cds"


@pytest.mark.parametrize(
    ("around", "refused"),
    [
        ({}, "CDS_DATABASE"),
        ({"CDS_DATABASE": "/var/lib/cds-service/records.sqlite3"}, "CDS_DATABASE"),
        ({"CDS_DATABASE": "sqlite:///records.sqlite3"}, "CDS_DATABASE"),
        ({"CDS_DATABASE": POSTGRESQL}, None),
        ({"CDS_DATABASE": POSTGRESQL, "CDS_EXPLANATION_KEY": "a key"}, "CDS_EXPLANATIONS"),
        ({"CDS_DATABASE": POSTGRESQL, "CDS_EXPLANATION_KEY": "a key", "CDS_EXPLANATIONS": POSTGRESQL}, None),
    ],
    ids=["none", "a path", "a SQLite URL", "PostgreSQL", "explanations in a file", "both in PostgreSQL"],
)
def test_no_replica_starts_with_a_database_of_its_own(around: dict[str, str], refused: str | None) -> None:
    """Replicas with a SQLite file each would let one token in once each, and keep as many audits."""
    python, *arguments = GUARD["command"]
    assert python == "/opt/cds-service/bin/python"
    assert GUARD["env"] == SERVICE["env"]
    done = subprocess.run([sys.executable, *arguments], env=around, capture_output=True, text=True, check=False)

    assert done.returncode == (0 if refused is None else 1)
    assert done.stderr.split(":")[0] == (refused or "")
    assert "secret" not in done.stderr


# ---- What surrounds it


def test_everything_selects_the_same_pods() -> None:
    assert DEPLOYMENT["spec"]["template"]["metadata"]["labels"] == NAME
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == NAME
    assert kind("Service")["spec"]["selector"] == NAME
    assert kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == NAME
    assert kind("ServiceMonitor")["spec"]["selector"]["matchLabels"] == NAME
    policies = [manifest for manifest in MANIFESTS.values() if manifest["kind"] == "NetworkPolicy"]
    assert [policy["spec"]["podSelector"]["matchLabels"] for policy in policies] == [NAME, NAME]


def test_the_autoscaler_alone_says_how_many_and_one_may_always_go() -> None:
    scaler = kind("HorizontalPodAutoscaler")["spec"]

    assert "replicas" not in DEPLOYMENT["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cds-service"}
    assert scaler["minReplicas"] >= 2
    assert kind("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert SERVICE["resources"]["requests"]["cpu"]  # or there is nothing to scale by


def test_whatever_is_not_named_is_shut() -> None:
    policy = MANIFESTS["base/network.yaml"]["spec"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] for rule in policy["ingress"])
    assert all(rule["ports"] for rule in (*policy["ingress"], *policy["egress"]))


def test_the_metrics_are_read_with_the_token_that_the_service_asks_for() -> None:
    (endpoint,) = kind("ServiceMonitor")["spec"]["endpoints"]
    by_name = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in SERVICE["env"]}

    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"]["credentials"] == by_name["CDS_METRICS_TOKEN"]
    assert endpoint["port"] in {port["name"] for port in kind("Service")["spec"]["ports"]}


def test_the_world_reaches_what_an_ehr_needs_and_nothing_else() -> None:
    ingress = kind("Ingress")["spec"]
    (rule,) = ingress["rules"]

    assert [path["path"] for path in rule["http"]["paths"]] == ["/cds-services", "/consultations"]
    assert ingress["tls"][0]["hosts"] == [rule["host"]]
    assert f"CDS_PUBLIC_BASE_URL=https://{rule['host']}\n" in (FOLDER / "hospital/settings.env").read_text()


def test_the_ingress_writes_down_no_address_and_no_chart() -> None:
    told = {name.rpartition("/")[2]: value for name, value in kind("Ingress")["metadata"]["annotations"].items()}

    assert told["enable-access-log"] == "false"
    assert told["client-body-buffer-size"] == told["proxy-body-size"]  # or a body would lie on the disk
    assert told["proxy-next-upstream"] == "off"


def test_the_service_would_take_the_example_of_a_hospital() -> None:
    checked = CliRunner().invoke(app, ["check", "--tenants", str(FOLDER / "hospital/tenants.toml")])

    assert checked.exit_code == 0, checked.output
