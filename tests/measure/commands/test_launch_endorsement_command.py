"""`pluto-measure endorsement`: fetch from a bucket on loopback, check a file, recompute MRTD, inspect."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.collateral.attempts import NoAnswerError, retry_after
from pluto_measure.collateral.endorsement_client import BUCKET, FIRMWARE_LIMIT, EndorsementClient
from pluto_measure.collateral.endorsement_store import EndorsementStore
from pluto_measure.collateral.transport import Answer, Clock, Limits, Transport
from pluto_measure.command import parser, run
from pluto_measure.commands import endorsement as command
from pluto_measure.errors import FormatError, UsageError, VerificationError
from pluto_measure.formats import tdvf
from pluto_measure.machine.mrtd import mrtd
from pluto_measure.verify import launch_endorsement as google
from simulators import tdvf_images
from simulators.endorsement_bucket import Bucket, serving
from simulators.endorsements import FIRMWARE_DIGEST, MADE, MRTD, ROOTS, key_of, launch_endorsement, pem, root

HEX = MRTD.hex()
DATA = launch_endorsement()
IMAGE = tdvf_images.image()
COMPUTED = mrtd(IMAGE, tdvf.parse(IMAGE))
IMAGE_DIGEST = hashlib.sha384(IMAGE).digest()
OF_IMAGE = launch_endorsement(firmware=IMAGE_DIGEST, mrtds=((0, False, COMPUTED),))
QUICK = Limits(read=0.5, total=5.0, attempts=2, pause=0.01)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket with the pretend Google's endorsement, whose root is the pinned one."""
    monkeypatch.setattr(google, "GOOGLE_TCB_ROOTS", ROOTS)
    with serving() as made:
        made.put(MRTD, DATA)
        yield made


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    """Exit code, and the document of --json."""
    top = parser("pluto-measure", "")
    command.add(top.add_subparsers(required=True))
    code = run(top, ["endorsement", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


class TestClient:
    def test_what_is_asked(self, bucket: Bucket) -> None:
        bucket.put_firmware(IMAGE_DIGEST, IMAGE)
        client = EndorsementClient(f"{bucket.url}/", limits=QUICK)
        assert client.endorsement(MRTD) == DATA
        assert client.firmware(IMAGE_DIGEST) == IMAGE
        assert bucket.asked == [f"/tdx/{HEX}.binarypb", f"/{IMAGE_DIGEST.hex()}.fd"]

    def test_the_default_is_googles_bucket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def answer(_: Transport, url: str, __: float) -> Answer:
            asked.append(url)
            return Answer(404, {}, b"")  # type: ignore[arg-type]

        monkeypatch.setattr(Transport, "get", answer)
        with pytest.raises(NoAnswerError, match="does not know it"):
            EndorsementClient().endorsement(MRTD)
        assert asked == [f"https://storage.googleapis.com/gce_tcb_integrity/ovmf_x64_csm/tdx/{HEX}.binarypb"]
        assert BUCKET.startswith("https://")

    def test_what_the_bucket_has_not(self, bucket: Bucket) -> None:
        with pytest.raises(NoAnswerError, match=r"refuses us \(status 403\): the bucket has none") as caught:
            EndorsementClient(bucket.url, limits=QUICK).endorsement(bytes(48))
        assert (caught.value.exit_code, caught.value.status) == (6, 403)
        assert len(bucket.asked) == 1

    def test_no_redirect_is_followed(self, bucket: Bucket) -> None:
        bucket.objects["/elsewhere"] = DATA
        bucket.statuses = [302]
        with pytest.raises(NoAnswerError, match="redirects are not followed"):
            EndorsementClient(bucket.url, limits=QUICK).endorsement(MRTD)
        assert len(bucket.asked) == 1

    def test_a_busy_bucket_is_asked_again(self, bucket: Bucket) -> None:
        bucket.statuses = [503]
        slept: list[float] = []
        clock = Clock(sleep=slept.append, spread=lambda: 0.0)
        assert EndorsementClient(bucket.url, limits=QUICK, clock=clock).endorsement(MRTD) == DATA
        assert slept == [0.01]
        bucket.statuses = [500, 429, 503]
        with pytest.raises(NoAnswerError, match="at attempt 2"):
            EndorsementClient(bucket.url, limits=QUICK, clock=clock).endorsement(MRTD)

    def test_an_answer_has_a_largest_size(self, bucket: Bucket) -> None:
        bucket.put(MRTD, bytes(64 * 1024 + 1))
        bucket.put_firmware(FIRMWARE_DIGEST, bytes(FIRMWARE_LIMIT + 1))
        client = EndorsementClient(bucket.url, limits=QUICK)
        with pytest.raises(NoAnswerError, match="announces 65537 bytes, more than 65536"):
            client.endorsement(MRTD)
        with pytest.raises(NoAnswerError, match="more than 16777216"):
            client.firmware(FIRMWARE_DIGEST)

    def test_another_file_is_not_the_firmware(self, bucket: Bucket) -> None:
        bucket.put_firmware(FIRMWARE_DIGEST, IMAGE)
        with pytest.raises(VerificationError, match="what came is not the file"):
            EndorsementClient(bucket.url, limits=QUICK).firmware(FIRMWARE_DIGEST)

    @pytest.mark.parametrize("url", ["http://bucket.example", "ftp://bucket.example", "https://a:b@bucket.example"])
    def test_tls_is_needed(self, url: str) -> None:
        with pytest.raises(UsageError):
            EndorsementClient(url)

    def test_a_server_that_asks_for_a_long_wait_is_left(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        headers = {"Retry-After": "3600"}
        monkeypatch.setattr(Transport, "get", lambda *_: Answer(503, headers, b""))  # type: ignore[arg-type]
        with pytest.raises(NoAnswerError, match="it asks to wait for 3600 s"):
            EndorsementClient(bucket.url, limits=QUICK).endorsement(MRTD)
        assert retry_after({"Retry-After": "soon"}, MADE) == 0.0  # type: ignore[arg-type]
        assert retry_after({"Retry-After": "Thu, 12 Mar 2026 09:31:00 GMT"}, MADE) == 60.0  # type: ignore[arg-type]


class TestFetch:
    def test_to_a_file_and_a_state(self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out, state = tmp_path / "e.binarypb", tmp_path / "state"
        words = ["fetch", HEX.upper(), "--url", bucket.url, "--out", out, "--state", state]
        code, document = called(capsys, *words)
        assert (code, document["wrote"]) == (0, [str(state), str(out)])
        assert (document["endorsement"]["svn"], document["endorsement"]["problems"]) == (2, [])
        assert out.read_bytes() == DATA
        assert out.stat().st_mode & 0o777 == 0o644
        store = EndorsementStore(state)
        assert (store.endorsement(MRTD), store.memory().svn) == (DATA, 2)

    def test_with_its_firmware(self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        bucket.put(COMPUTED, OF_IMAGE)
        out, image = tmp_path / "e", tmp_path / "fd"
        words = ["fetch", COMPUTED.hex(), "--url", bucket.url, "--out", out, "--firmware", image]
        assert called(capsys, *words)[0] == 6
        assert not out.exists()
        bucket.put_firmware(IMAGE_DIGEST, IMAGE)
        assert called(capsys, *words)[0] == 0
        assert image.read_bytes() == IMAGE
        code, document = called(capsys, "check", out, "--firmware", image, "--mrtd", COMPUTED.hex())
        assert (code, document["computed"]) == (0, COMPUTED.hex())

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (launch_endorsement(sign_with=key_of("mallory")), 4),
            (launch_endorsement(mrtds=((0, False, bytes(48)),)), 4),
            (launch_endorsement(issuer="other", ca_bundle=pem(root("other"))), 4),
            (b"<html>", 3),
            (None, 6),
        ],
    )
    def test_nothing_is_written_of_what_is_not_good(
        self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes | None, code: int
    ) -> None:
        bucket.objects.clear()
        if data is not None:
            bucket.put(MRTD, data)
        words = ["fetch", HEX, "--url", bucket.url, "--out", tmp_path / "e", "--state", tmp_path / "state"]
        assert called(capsys, *words)[0] == code
        assert list(tmp_path.iterdir()) == []

    def test_an_older_one_than_once_seen_is_refused(
        self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["fetch", HEX, "--url", bucket.url, "--state", tmp_path / "state", "--out", tmp_path / "e"]
        bucket.put(MRTD, launch_endorsement(svn=3))
        assert called(capsys, *words)[0] == 0
        bucket.put(MRTD, DATA)
        code, document = called(capsys, *words)
        assert (code, document["error"]["kind"]) == (5, "OlderEndorsementError")
        assert document["error"]["older"] == ["the security version is 2, seen: 3"]
        assert (tmp_path / "e").read_bytes() != DATA

    @pytest.mark.parametrize(
        "words",
        [
            ["fetch", HEX],
            ["fetch", "4d", "--out", "x"],
            ["fetch", HEX, "--out", "x", "--url", "http://bucket.example"],
            ["fetch", HEX, "--out", "x", "--tls-ca", "PEM"],
            ["fetch", HEX, "--out", "missing/x", "--url", "BUCKET"],
        ],
    )
    def test_a_wrong_call(
        self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
    ) -> None:
        (tmp_path / "pem").write_text("none")
        places = {"x": tmp_path / "x", "missing/x": tmp_path / "missing/x", "PEM": tmp_path / "pem"}
        given = [bucket.url if word == "BUCKET" else places.get(word, word) for word in words]
        assert called(capsys, *given)[0] == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["pem"]

    def test_what_cannot_be_renamed_is_removed(
        self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "e").mkdir()
        assert called(capsys, "fetch", HEX, "--url", bucket.url, "--out", tmp_path / "e")[0] == 2
        assert [path.name for path in tmp_path.iterdir()] == ["e"]


class TestCheck:
    def test_a_genuine_one(self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "e").write_bytes(DATA)
        code, document = called(capsys, "check", tmp_path / "e", "--mrtd", HEX)
        shown = document["endorsement"]
        assert (code, shown["made"], shown["firmware"]) == (0, "2026-03-12T09:30:00Z", FIRMWARE_DIGEST.hex())
        assert shown["mrtds"] == [
            {"mrtd": HEX, "ramGib": 0, "earlyAccept": False},
            {"mrtd": HEX, "ramGib": 0, "earlyAccept": True},
        ]
        text = command.text(shown)
        assert "signed by Google" in text
        assert f"MRTD {HEX} (any memory, all memory accepted by the firmware)" in text
        assert called(capsys, "check", tmp_path / "e", "--at", "2034-01-01T00:00:00Z")[0] == 4
        assert called(capsys, "check", tmp_path / "e", "--mrtd", "00" * 48)[0] == 4

    def test_with_a_root_from_elsewhere(
        self, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "e").write_bytes(launch_endorsement(ca_bundle=b""))
        (tmp_path / "root").write_bytes(pem(root()))
        assert called(capsys, "check", tmp_path / "e")[0] == 4
        assert called(capsys, "check", tmp_path / "e", "--root", tmp_path / "root")[0] == 0

    @pytest.mark.parametrize(
        ("data", "image", "code", "words"),
        [
            (OF_IMAGE, IMAGE, 0, ""),
            (DATA, IMAGE, 4, "and endorsed is"),
            (launch_endorsement(firmware=IMAGE_DIGEST), IMAGE, 4, "those endorsed are others"),
            (
                launch_endorsement(firmware=IMAGE_DIGEST, mrtds=((16, False, MRTD),)),
                IMAGE,
                4,
                "for single sizes of memory, which no file can give",
            ),
            (launch_endorsement(firmware=hashlib.sha384(b"no image").digest()), b"no image", 3, ""),
        ],
    )
    def test_a_firmware_gives_the_mrtd_or_not(
        self,
        bucket: Bucket,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        data: bytes,
        image: bytes,
        code: int,
        words: str,
    ) -> None:
        (tmp_path / "e").write_bytes(data)
        (tmp_path / "fd").write_bytes(image)
        found, document = called(capsys, "check", tmp_path / "e", "--firmware", tmp_path / "fd")
        assert found == code
        assert words in json.dumps(document)

    def test_what_is_no_endorsement_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "e").write_bytes(b"\xff")
        given = argparse.Namespace(file=tmp_path / "e", at=None, root=None, mrtd=None, firmware=None)
        with pytest.raises(FormatError, match=f"launch endorsement {tmp_path}/e"):
            command.check(given)


class TestInspect:
    def test_it_shows_what_is_not_believed_too(self, bucket: Bucket) -> None:
        for data, problem in (
            (DATA, None),
            (launch_endorsement(sign_with=key_of("mallory")), "did not sign"),
            (launch_endorsement(ca_bundle=b"-"), "holds no certificate"),
            (launch_endorsement(made=None), "does not say when"),
        ):
            found = command.inspected(data)
            assert found is not None
            assert found.document["format"] == "launch endorsement"
            assert ("NOT GENUINE" in found.text) == (problem is not None)
            assert (problem or "signed by Google") in found.text

    def test_other_files_are_none(self) -> None:
        assert command.inspected(b"\nno endorsement") is None
        assert command.inspected(IMAGE) is None
