"""What the page takes from others is what its packages hold, and may be passed on."""

import base64
import hashlib
import re

from api.http.pages import OUR_FILES, WAVE_STYLE

VENDOR = OUR_FILES / "vendor"
ROW = re.compile(
    r"^\| (?P<name>[^|]+) \| (?P<version>\d[\w.]+) \| (?P<licence>[^|]+) \| (?P<file>\S+) \| \S+ \| (?P<sha256>[0-9a-f]{64}) \|$",
    re.MULTILINE,
)


def test_every_file_is_listed_with_its_sum() -> None:
    rows = list(ROW.finditer((VENDOR / "README.md").read_text()))
    assert {row["file"]: row["sha256"] for row in rows} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.suffix in {".js", ".mjs"}
    }


def test_every_licence_is_there() -> None:
    for row in ROW.finditer((VENDOR / "README.md").read_text()):
        licences = re.findall(r"\]\(([^)]+)\)", row["licence"])
        assert licences, row["name"]
        for licence in licences:
            assert len((VENDOR / licence).read_text()) > 1_000, row["name"]


def test_the_pages_policy_lets_in_the_style_of_the_waves() -> None:
    (height,) = re.findall(r"^export const HEIGHT = (\d+);", (OUR_FILES / "wave.js").read_text(), re.MULTILINE)
    (style,) = re.findall(r'"\}>(\\n {8}:host .*?)</style>', (VENDOR / "wavesurfer.esm.js").read_text())
    written = re.sub(r"\$\{this\.getHeight\([^}]*\}", height, style.replace("\\n", "\n"))
    digest = hashlib.sha256(written.encode()).digest()
    assert f"sha256-{base64.b64encode(digest).decode()}" == WAVE_STYLE
