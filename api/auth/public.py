"""The one list of what needs no credential. Every other route, mount and WebSocket is closed."""

V1 = "/api/v1"
PATHS = frozenset({
    "/", "/health", "/health/live", "/health/ready", "/login",
    f"{V1}/docs", f"{V1}/redoc", f"{V1}/openapi.json",
    f"{V1}/auth/register", f"{V1}/auth/login", f"{V1}/auth/token", f"{V1}/auth/refresh",
})  # fmt: skip
MOUNTS = ("/static/",)


def is_public(path: str) -> bool:
    """Whether a path needs no credential."""
    return path in PATHS or path.startswith(MOUNTS)
