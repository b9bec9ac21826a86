"""What looks secret is not shown; what does not stays readable."""

import pytest

from swarmnode.tasks.secrets.hidden import HIDDEN, looks_secret, masked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("WANDB_API_KEY", "x"),
        ("PGPASSWORD", "x"),
        ("DB_PASS", "x"),
        ("mySecret", "x"),
        ("OPENAI_APIKEY", "x"),
        ("SENTRY_DSN", "x"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "x"),
        ("SESSION_COOKIE", "x"),
        ("X", "ghp_0123456789"),
        ("X", "sk-abcdef"),
        ("X", "AKIAIOSFODNN7EXAMPLE"),
        ("X", "eyJhbGciOi.eyJzdWIi.x"),
        ("X", "-----BEGIN RSA PRIVATE KEY-----"),
        ("DATABASE_URL", "postgres://ann:pw@host/db"),
    ],
)
def test_it_looks_secret(name: str, value: str) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/usr/bin"),
        ("OMP_NUM_THREADS", "8"),
        ("MONKEY", "1"),
        ("PASSES", "3"),
        ("KEYBOARD", "de"),
        ("TOKEN", ""),
        ("AUTHOR", "Ada"),
        ("DATA_URL", "https://host/path"),
    ],
)
def test_it_does_not(name: str, value: str) -> None:
    assert not looks_secret(name, value)


def test_only_what_looks_secret_is_masked() -> None:
    assert masked({"A": "1", "MY_TOKEN": "t"}) == {"A": "1", "MY_TOKEN": HIDDEN}
