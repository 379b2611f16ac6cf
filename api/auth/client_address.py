"""Where a request comes from, as far as it is counted."""

import ipaddress

from starlette.requests import Request

IPV6_PREFIX = 64  # what one customer of a network has


async def get_address(request: Request) -> str:
    """The client's address, or the network of an IPv6 one; behind a trusted proxy the one that it tells."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address.packed, IPV6_PREFIX), strict=False))
