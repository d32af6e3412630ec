"""Django's settings, which a process has once, and its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections, transaction

_DATABASE: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "NAME": "", "USER": "", "HOST": ""}

# Before the test modules are imported, because they import models; the database is put in when there is one.
settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": _DATABASE},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.postgres",
        "django.contrib.sessions",
        "tests.django.gallery",
    ],
    LOGGING_CONFIG=None,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    ROOT_URLCONF="tests.django.gallery.urls",
    SECRET_KEY="tests",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    USE_TZ=True,
)
django.setup()


def database_settings(url: str) -> dict[str, str]:
    """What Django's settings say of the database of a URL."""
    parts = urlsplit(url)
    return {"NAME": parts.path[1:], "USER": parts.username or "", "HOST": parse_qs(parts.query)["host"][0]}


@pytest.fixture(scope="session")
def migrated(make_database: Callable[[], str]) -> Iterator[None]:
    """An empty database, migrated as users migrate theirs."""
    connection.settings_dict.update(database_settings(make_database()))
    call_command("migrate", verbosity=0)
    try:
        yield
    finally:
        connections.close_all()


@pytest.fixture(autouse=True)
def rolled_back(migrated: None) -> Iterator[None]:
    """Nothing that a test does stays."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
