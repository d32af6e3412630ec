"""The admin's own form, with nothing said about it."""

from __future__ import annotations

from django.contrib import admin

from tests.django.gallery.models import Picture

admin.site.register(Picture)
