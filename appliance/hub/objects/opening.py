"""Which store a hub has, by its configuration."""

from __future__ import annotations

from appliance.config import HubConfig
from appliance.hub.objects.directory import DirectoryStore
from appliance.hub.objects.store import Store


def opened(config: HubConfig) -> Store:
    """The store that `[objects]` names; nothing is asked of it yet. Raises ConfigError when its keys can't be read."""
    if not config.objects.url:
        return DirectoryStore(config.data)
    from appliance.hub.objects.client import make_client
    from appliance.hub.objects.s3 import S3Store

    bucket, _, prefix = config.objects.url.removeprefix("s3://").partition("/")
    return S3Store(make_client(config.objects), bucket, prefix)
