"""The client of a server, and the proxy on the way to it, as the environment names it.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read as curl and httpx read them, and only the proxy that
concerns the server's address is used. A server on this machine is asked directly, as Go's client does.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fissile.engines.endpoint_settings import EndpointSettings
from fissile.errors import ConfigError

if TYPE_CHECKING:
    import openai

SOCKS = ("socks5", "socks5h")
SCHEMES = ("http", "https", *SOCKS)
"""Of a proxy's address."""


@dataclass(frozen=True)
class Proxy:
    """A proxy of the environment.

    Attributes:
        variable: the environment variable that names it.
        url: its address, which may hold a password.
        host: of the server behind it.
    """

    variable: str
    url: str
    host: str

    @property
    def shown(self) -> str:
        """Its address without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def __str__(self) -> str:
        return f"the proxy {self.shown} of {self.variable}; NO_PROXY={self.host} goes around it"


def make_client(settings: EndpointSettings, key: str, proxy: Proxy | None) -> openai.OpenAI:
    """The client. Nothing is sent.

    Raises:
        ConfigError: the proxy cannot be used, or the file of authorities cannot be read.
    """
    import httpx2  # noqa: PLC0415
    import openai  # noqa: PLC0415

    try:
        transport = httpx2.HTTPTransport(
            proxy=None if proxy is None else proxy.url, limits=httpx2.Limits(max_connections=settings.concurrency * 2)
        )
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        if proxy is not None and not isinstance(error, OSError):
            raise _unusable(proxy, str(error)) from None
        named = " or ".join(name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name))
        raise ConfigError(
            f"The certificates of the authorities cannot be read ({error}). See that {named or 'SSL_CERT_FILE'} names "
            "a file or a folder with them, or unset it."
        ) from None
    http_client: Any = openai.DefaultHttpxClient(transport=transport)
    try:
        return openai.OpenAI(
            api_key=key,
            base_url=settings.base_url,
            timeout=settings.timeout_seconds,
            max_retries=0,
            http_client=http_client,
        )
    except httpx2.InvalidURL as error:
        raise ConfigError(f"base_url '{settings.base_url}' is no address: {error}.") from None


def proxy_for(url: str) -> Proxy | None:
    """The proxy that the environment names for an address; None where it is asked directly.

    Raises:
        ConfigError: that proxy cannot be used.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    proxies = urllib.request.getproxies()
    if _is_this_machine(host) or _goes_around(host, port, proxies.get("no", "")):
        return None
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if scheme is None:
        return None
    named = proxies[scheme]
    proxy = Proxy(_variable(scheme), named if "://" in named else f"http://{named}", host)
    _check(proxy)
    return proxy


def _check(proxy: Proxy) -> None:
    try:
        parts = urlsplit(proxy.url)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise _unusable(proxy, str(error), shown="its value") from None
    if parts.scheme not in SCHEMES:
        raise _unusable(proxy, f"its address must begin with {', '.join(f'{name}://' for name in SCHEMES)}")
    if not is_address:
        raise _unusable(proxy, "it names no host")
    if parts.scheme in SOCKS:
        try:
            import socksio  # type: ignore[import-not-found, unused-ignore]  # noqa: F401, PLC0415
        except ImportError:
            raise _unusable(proxy, "a SOCKS proxy needs the package socksio: pip install socksio") from None


def _unusable(proxy: Proxy, why: str, shown: str = "") -> ConfigError:
    return ConfigError(
        f"The environment variable {proxy.variable} ({shown or proxy.shown}) names a proxy that cannot be used: {why}. "
        f"Correct or unset it, or set NO_PROXY={proxy.host} to go around it."
    )


def _variable(scheme: str) -> str:
    """The environment variable that names the proxy of a scheme."""
    names = (f"{scheme}_proxy", f"{scheme}_PROXY".upper())
    return next((name for name in names if os.environ.get(name)), f"{scheme}_PROXY".upper())


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _goes_around(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: by itself, its domain, its network (CIDR), with its port, or "*" for all."""
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        name = entry.removeprefix("*").removeprefix(".")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}") or f"{host}:{port}" == name)):
            return True
        try:
            if "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False
