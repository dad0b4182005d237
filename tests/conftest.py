"""What all tests share: running a plan with every promise about runs checked, and certificates made on the fly."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import motet
from motet.testing import check_run

CheckedRun = Callable[..., Awaitable[motet.RunResult]]


@pytest.fixture
def checked_run() -> CheckedRun:
    """Runs a plan, follows it from the first event to the last, and checks events and result against each other."""

    async def run(engine: motet.Engine, plan: motet.Plan, input: object = "", **options: Any) -> motet.RunResult:
        async with engine.stream(plan, input, **options) as stream:
            events = [event async for event in stream]
        assert stream.result is not None
        check_run(events, stream.result, plan=plan)
        return stream.result

    return run


class Authority:
    """Issues certificates for this machine, in files of a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, secret: bytes = b"") -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key, encrypted with a `secret` if there is one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName(f"{name}.test")])
        certificate = self._build(subject, key, names)
        encryption = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(pem, form, encryption))
        return paths

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
        made = made.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        return made.sign(self._key, hashes.SHA256())


@pytest.fixture
def authorities(tmp_path: Path) -> Callable[..., Authority]:
    """Makes authorities that issue certificates, in files of the test's own folder."""
    return lambda name="ca": Authority(tmp_path, name)
