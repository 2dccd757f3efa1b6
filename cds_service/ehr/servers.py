"""Which FHIR servers may be read, and to which addresses their names may lead. Everything else gets no socket."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cds_service.errors import SiteUnfit
from cds_service.settings import Site

_DEFAULT_PORT: Final = {"http": 80, "https": 443}
# A name or an address as people write them. "2130706433" and "0x7f.1" are addresses, too, for some resolvers: what a
# name leads to is checked again when it is known.
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class Server:
    """A FHIR base URL, taken apart. Two are the same server when scheme, host, port and path are."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def at(cls, url: str) -> Server | None:
        """The server at a base URL. None when it is none, or when anything in it could mean two things."""
        if not url.isascii() or not url.isprintable() or any(sign in url for sign in " \\@?#%"):
            return None
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return None
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        host = f"[{host}]" if ":" in host else host
        path = parts.path.rstrip("/")
        if scheme not in _DEFAULT_PORT or port == 0 or not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
            return None
        if any(step in (".", "..") for step in path.split("/")):
            return None
        return cls(scheme, host, port or _DEFAULT_PORT[scheme], path)

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a URL begins."""
        port = "" if self.port == _DEFAULT_PORT[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def base(self) -> str:
        """The base URL, without a slash at its end."""
        return self.origin + self.path

    @property
    def is_here(self) -> bool:
        """Is it named as this very machine?"""
        return self.host == "localhost" or _is_loopback(self.host.strip("[]"))

    def holds(self, url: str) -> bool:
        """Does this URL lie at or below the base? Only there may the EHR's token go."""
        if "\\" in url or "@" in url.split("?", 1)[0] or not url.isprintable() or " " in url:
            return False
        start, _, _ = url.partition("?")
        found = Server.at(start)
        return (
            found is not None
            and (found.scheme, found.host, found.port) == (self.scheme, self.host, self.port)
            and (found.path == self.path or found.path.startswith(f"{self.path}/"))
        )


class Servers:
    """The FHIR servers that a site allows. Raises SiteUnfit, at start, for one that cannot be meant."""

    def __init__(self, site: Site, also: Iterable[str] = ()) -> None:
        """`also`: servers named on the command line, where plain http may be meant."""
        self._private = site.ehr.private_addresses
        named = [("ehr.servers: ", url) for url in site.ehr.servers] + [("--fhir-server ", url) for url in also]
        if unfit := [f"{where}{url!r}: {defect}" for where, url in named if (defect := _defect(where, url))]:
            raise SiteUnfit(*unfit)
        self._servers = frozenset(server for _, url in named if (server := Server.at(url)))

    def allowed(self, url: str | None) -> Server | None:
        """The server that a call names, if the site allows it: compared whole, never by how it begins."""
        server = Server.at(url) if url is not None else None
        return server if server in self._servers else None

    def may_reach(self, server: Server, address: str) -> bool:
        """
        May this address, to which the server's name led just now, be connected to?

        A name can be made to lead anywhere (DNS rebinding): to this machine, or to the place where a cloud hands out
        its credentials. A private address is one more thing that the site must allow.
        """
        found = _address(address)
        if found is None:
            return False
        if server.is_here:
            return found.is_loopback
        if any(found in network for network in _NEVER if network.version == found.version):
            return False
        if any(found in network for network in _PRIVATE if network.version == found.version):
            return self._private
        return found.is_global and not found.is_multicast


def _defect(where: str, url: str) -> str | None:
    server = Server.at(url)
    if server is None:
        return "not an http or https base URL (scheme, host, port and path alone)"
    if server.scheme == "http" and not server.is_here and where.startswith("ehr"):
        return "not https, and not on this machine"
    return None


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that is meant: the IPv4 one inside an IPv6 one, where the net unwraps it."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found
    return found


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# No EHR is ever there. Where clouds hand out credentials, though the address looks private or public (Alibaba, AWS,
# Azure, Google, Oracle), and link-local; then IPv6 that leads on to an IPv4 address of somebody's choice (IPv4-
# compatible, a local NAT64, Teredo, 6to4), and site-local, which Python takes for public.
_NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.100.100.200/32", "fd00:ec2::/32", "168.63.129.16/32", "fd20:ce::/32", "192.0.0.0/24", "169.254.0.0/16",
        "fe80::/10", "::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10",
    )
)  # fmt: skip
