"""Content credentials (C2PA): a signed statement inside the file that it is AI-generated, by what and from what."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkies.domain.errors import InputError, MissingDependencyError, TalkiesError
from talkies.media.staging import staged
from talkies.provenance.record import GenerationRecord
from talkies.provenance.settings import config_folder
from talkies.version import __version__

#: IPTC's term for media made by a trained model out of other media: the picture and the voices.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".gif": "image/gif", ".png": "image/png", ".jpg": "image/jpeg"}
_YEARS = 10
#: Said of a certificate nobody but its owner vouches for: expected with a self-made one.
_UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class SigningKey:
    """A key to sign with.

    Attributes:
        certificates: PEM: the signer's certificate first, its issuers after it.
        key: PEM, PKCS#8, EC P-256.
    """

    certificates: bytes
    key: bytes


@dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say.

    Attributes:
        intact: The file is, byte for byte, what was signed.
        trusted: The signer is vouched for by a known authority.
        signer: Name in the certificate.
        generator: Program that made the file.
        ai_generated: It says so.
        record: The generation record inside, or None.
        problems: Codes of what does not hold.
    """

    intact: bool
    trusted: bool
    signer: str
    generator: str
    ai_generated: bool
    record: dict[str, Any] | None
    problems: tuple[str, ...]


def media_type(path: Path) -> str | None:
    """The type credentials can be embedded in, or None (WebM, folders of pictures)."""
    return _TYPES.get(path.suffix.lower())


def load_key(certificate: Path | None = None, key: Path | None = None) -> SigningKey:
    """The user's own key, or the self-made one (made at first use, readable by its owner only).

    Raises:
        InputError: Only one of the two files is given, or one cannot be read.
    """
    if (certificate is None) != (key is None):
        raise InputError("A certificate and its key belong together.", "Give --certificate and --key.")
    if certificate is not None and key is not None:
        return SigningKey(_pem(certificate, b"CERTIFICATE"), _pem(key, b"PRIVATE KEY"))
    folder = config_folder()
    own_certificate, own_key = folder / "certificate.pem", folder / "key.pem"
    try:
        if not (own_certificate.is_file() and own_key.is_file()):
            folder.mkdir(parents=True, exist_ok=True)
            made = make_key()
            with staged(own_certificate) as scratch:
                scratch.write_bytes(made.certificates)
            with staged(own_key) as scratch, os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(made.key)
        return SigningKey(own_certificate.read_bytes(), own_key.read_bytes())
    except MissingDependencyError:
        raise
    except (OSError, TalkiesError) as error:  # of the folder: what helps is the same
        raise TalkiesError(
            f"The signing key in {folder} cannot be used: {getattr(error, 'strerror', None) or error}.",
            "Set TALKIES_HOME to a folder of yours, or add --no-credentials.",
        ) from None


def _pem(path: Path, kind: bytes) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if b"-----BEGIN" not in data or kind not in data:
        raise InputError(f"{path.name} is not a PEM file with a {kind.decode().lower()}.")
    return data


def make_key() -> SigningKey:
    """A fresh key with a certificate of its own authority, as C2PA wants them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    authority_key, signer_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def name(common: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Talkies"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )

    def certificate(subject: x509.Name, key: ec.EllipticCurvePublicKey, authority: bool) -> x509.Certificate:
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name("Talkies self-made authority"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .add_extension(usage, critical=True)
        )
        if not authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True
            )
        return builder.sign(authority_key, hashes.SHA256())

    authority = certificate(name("Talkies self-made authority"), authority_key.public_key(), authority=True)
    signer = certificate(name("Talkies self-made signer"), signer_key.public_key(), authority=False)
    pem = serialization.Encoding.PEM
    return SigningKey(
        signer.public_bytes(pem) + authority.public_bytes(pem),
        signer_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingDependencyError(
            "Content credentials need the package c2pa-python.", "pip install c2pa-python, or add --no-credentials."
        ) from error
    return c2pa


def sign(path: Path, record: GenerationRecord, key: SigningKey) -> None:
    """Embeds content credentials in a finished file, in place.

    Args:
        path: Its `media_type` must be known.
        record: What is stated about it; consent and prompt included.
        key: To sign with.

    Raises:
        TalkiesError: Signing failed, for example with a key that does not fit its certificate.
    """
    c2pa = _c2pa()
    kind = media_type(path)
    if kind is None:
        raise ValueError(f"{path.suffix} files cannot carry content credentials")
    manifest = {
        "claim_generator_info": [{"name": "Talkies", "version": __version__}],
        "title": path.name.lstrip("."),
        "format": kind,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]},
            },
            {"label": "org.talkies.generation", "data": record.as_dict()},
        ],
    }
    signed = path.with_name(f"{path.stem}.signed{path.suffix}")
    try:
        # A timestamp authority would need the network: none is asked.
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", key.certificates, key.key, None))
        with path.open("rb") as source, signed.open("w+b") as target:
            c2pa.Builder(json.dumps(manifest)).sign(signer, kind, source, target)
        signed.replace(path)
    except (c2pa.C2paError, ValueError) as error:
        raise TalkiesError(f"Content credentials could not be written: {_short(error)}.",
                           "Check the key, or add --no-credentials.") from None  # fmt: skip
    finally:
        signed.unlink(missing_ok=True)


def read(path: Path) -> Credentials | None:
    """The content credentials of a file, or None if it has none.

    Raises:
        InputError: The file cannot be read.
    """
    c2pa = _c2pa()
    kind = media_type(path)
    if kind is None:
        return None
    try:
        with path.open("rb") as file:
            data = json.loads(c2pa.Reader(kind, file).json())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (c2pa.C2paError, ValueError) as error:
        if "ManifestNotFound" in f"{type(error).__name__} {error}":
            return None
        return Credentials(False, False, "", "", False, None, (_short(error),))
    manifest = data["manifests"][data["active_manifest"]]
    assertions = {entry["label"]: entry.get("data") for entry in manifest.get("assertions", [])}
    problems = tuple(entry["code"] for entry in data.get("validation_status", []))
    info = (manifest.get("claim_generator_info") or [{}])[0]
    record = assertions.get("org.talkies.generation")
    signature = manifest.get("signature_info") or {}
    return Credentials(
        intact=data.get("validation_state") in ("Valid", "Trusted"),
        trusted=_UNTRUSTED not in problems and data.get("validation_state") == "Trusted",
        signer=str(signature.get("common_name") or signature.get("issuer") or "unknown"),
        generator=f"{info.get('name', '')} {info.get('version', '')}".strip(),
        ai_generated="trainedalgorithmicmedia" in json.dumps(assertions).lower(),
        record=record if isinstance(record, dict) else None,
        problems=tuple(problem for problem in problems if problem != _UNTRUSTED),
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
