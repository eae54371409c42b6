"""What the daemon says, signed, of its own walls: the signature by another implementation, and that testing leaves nothing."""
import base64
import hashlib
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import host
from case import DaemonCase
from client import Client
from sandboxd_daemon import ROOT, Daemon, bin_dir

KEY = "test"
CONFIG = f'''
listen = "127.0.0.1:{{port}}"
state_dir = "{{state_dir}}"
on_stop = "destroy"
sandboxes_max = 1
[[tenants]]
id = "acme"
key_hashes = ["{hashlib.sha256(KEY.encode()).hexdigest()}"]
'''


def verifies(answer, payload=None, signature=None):
    """By the openssl command line, from nothing but what is in the answer."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "key").write_text(answer["public_key"])
        (folder / "payload").write_bytes((payload or answer["payload"]).encode())
        (folder / "signature").write_bytes(signature or base64.b64decode(answer["signature"], validate=True))
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "payload", "-sigfile", "signature"],
                              cwd=folder, capture_output=True, text=True, check=False)
    if "Verified Successfully" in done.stdout + done.stderr:
        return True
    if "Verification Failure" in done.stdout + done.stderr:
        return False
    raise AssertionError(f"openssl did not say: {done.stdout} {done.stderr}")


def sandboxctl(daemon, *arguments, key=None):
    environment = {"PATH": "/usr/bin:/bin", "SANDBOXD_URL": f"http://127.0.0.1:{daemon.port}", "SANDBOXD_API_KEY": key or daemon.key}
    return subprocess.run([str(bin_dir() / "sandboxctl"), *arguments], env=environment, capture_output=True, text=True, timeout=90, check=False)


def attest(client, query=""):
    answer = client.get("/v1/attest" + query)
    assert answer.status == 200, answer
    return answer.json


class Attestation(DaemonCase):
    def test_needs_a_key_and_no_more(self):
        self.assert_error(self.client.with_key("wrong").get("/v1/attest"), 401, "unauthorized")
        self.assertEqual(200, self.client.get("/v1/attest").status)

    def test_the_signature_is_good_and_a_changed_payload_is_not(self):
        answer = attest(self.client, "?nonce=abc.DEF_1-2")
        self.assertEqual({"payload", "signature", "algorithm", "public_key", "fingerprint"}, set(answer))
        self.assertEqual("Ed25519", answer["algorithm"])
        self.assertTrue(verifies(answer))
        self.assertFalse(verifies(answer, payload=answer["payload"].replace("abc.DEF", "abc.DEE")))
        self.assertFalse(verifies(answer, payload=answer["payload"] + " "))
        flipped = bytearray(base64.b64decode(answer["signature"]))
        flipped[5] ^= 1
        self.assertFalse(verifies(answer, signature=bytes(flipped)))
        body = "".join(line for line in answer["public_key"].splitlines() if not line.startswith("-"))
        self.assertEqual("sha256:" + hashlib.sha256(base64.b64decode(body)).hexdigest(), answer["fingerprint"])

    def test_the_nonce_comes_back_and_is_bounded(self):
        for nonce in ("x", "A" * 128, "a.b_c-9"):
            self.assertEqual(nonce, json.loads(attest(self.client, f"?nonce={nonce}")["payload"])["nonce"])
        self.assertEqual("", json.loads(attest(self.client)["payload"])["nonce"])
        for nonce in ("A" * 129, "a%22b", "a%20b", "%0a", "a/b", "%c3%a4"):
            with self.subTest(nonce=nonce):
                self.assert_error(self.client.get(f"/v1/attest?nonce={nonce}"), 400, "invalid_argument", "nonce")
        self.assert_error(self.client.get("/v1/attest?fresh=perhaps"), 400, "invalid_argument", "fresh")

    def test_all_that_is_needed_holds_here_and_everything_is_said(self):
        payload = json.loads(attest(self.client)["payload"])
        self.assertEqual("sandboxd/attestation/1", payload["type"])
        self.assertEqual("holds", payload["verdict"], [wall for wall in payload["walls"] if wall["status"] != "holds"])
        self.assertEqual(pathlib.Path("/proc/sys/kernel/osrelease").read_text().strip(), payload["kernel"])
        self.assertRegex(payload["version"], r"^\d+\.\d+\.\d+")
        self.assertRegex(payload["seccomp_sha256"], r"^[0-9a-f]{64}$")
        self.assertEqual([], payload["accepted_broken"])
        for time in ("tested_at", "issued_at"):
            self.assertRegex(payload[time], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertLessEqual(payload["tested_at"], payload["issued_at"])
        names = [wall["name"] for wall in payload["walls"]]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(names), 40)
        for wall in payload["walls"]:
            self.assertEqual({"name", "status", "required", "seen", "observed"}, set(wall))
            self.assertTrue(wall["observed"], wall)
            if wall["required"]:
                self.assertEqual("holds", wall["status"], wall)
            else:
                self.assertIn(wall["status"], ("holds", "absent"), wall)

    def test_a_result_is_kept_and_a_fresh_one_is_made_now_and_then(self):
        first = json.loads(attest(self.client)["payload"])
        self.assertEqual(first["tested_at"], json.loads(attest(self.client)["payload"])["tested_at"])

        def fresh():
            answer = self.client.get("/v1/attest?fresh=true")
            if answer.status == 429:
                self.assertIn("retry_after_s", answer.json["error"]["details"])
                return None
            return answer
        answer = host.wait_until(fresh, 60, "a fresh test")
        self.assertGreater(json.loads(answer.json["payload"])["tested_at"], first["tested_at"])
        self.assert_error(self.client.get("/v1/attest?fresh=true"), 429, "rate_limited")

    def test_the_key_is_roots_and_not_the_apis(self):
        attest(self.client)
        info = (self.daemon.state_dir / "attest.key").stat()
        self.assertEqual((0o100600, 0, 0), (info.st_mode, info.st_uid, info.st_gid))
        uids = re.search(r"^Uid:\t(.*)$", host.read_proc(self.daemon.api_pid(), "status"), re.MULTILINE).group(1).split()
        self.assertNotIn("0", uids)

    def test_the_command_line_shows_and_checks_it(self):
        fingerprint = attest(self.client)["fingerprint"]
        shown = sandboxctl(self.daemon, "attest", "--verify", fingerprint)
        self.assertEqual(0, shown.returncode, shown.stdout + shown.stderr)
        self.assertRegex(shown.stdout, r"(?m)^user_namespaces +holds +yes +inside ")
        self.assertIn("valid, key " + fingerprint, shown.stdout)
        other = sandboxctl(self.daemon, "attest", "--verify", "sha256:" + "0" * 64)
        self.assertEqual(1, other.returncode)
        self.assertIn("signed by " + fingerprint, other.stderr)
        self.assertNotIn("user_namespaces", other.stdout)
        answer = sandboxctl(self.daemon, "--json", "attest")
        self.assertEqual(0, answer.returncode, answer.stderr)
        answer = json.loads(answer.stdout)
        self.assertTrue(answer["signature_valid"])
        self.assertFalse(answer["key_trusted"])
        self.assertTrue(verifies(answer))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(answer["public_key"])
            file.flush()
            self.assertEqual(0, sandboxctl(self.daemon, "attest", "--verify", file.name).returncode)
        self.assertEqual(1, sandboxctl(self.daemon, "attest", "--verify", "/dev/null").returncode)
        doctor = json.loads(sandboxctl(self.daemon, "--json", "doctor").stdout)
        self.assertEqual(["ok"], [check["severity"] for check in doctor["checks"] if check["name"] == "daemon.walls"])


class SelfTest(unittest.TestCase):
    """With daemons of their own."""

    def daemon(self, config=None, wait=True):
        daemon = Daemon(config=config)
        self.addCleanup(daemon.destroy)
        daemon._key = KEY if config else None
        return daemon.start(wait=wait)

    def test_it_is_nobodys_takes_no_place_and_leaves_nothing(self):
        daemon = self.daemon(CONFIG)
        box = daemon.client.create()       # all that there may be
        daemon.find_group()
        tested = json.loads(attest(daemon.client)["payload"])["tested_at"]
        host.wait_until(lambda: len(list((daemon.state_dir / "sandboxes").iterdir())) == 1, 20, "the first test has left nothing")
        before = host.cgroups(daemon.group)

        def fresh():
            answer = daemon.client.get("/v1/attest?fresh=true")
            return answer if answer.status != 429 else None
        answer = host.wait_until(fresh, 60, "a fresh test")
        self.assertEqual(200, answer.status, answer)
        self.assertGreater(json.loads(answer.json["payload"])["tested_at"], tested)
        self.assertEqual([box.id], [each["id"] for each in daemon.client.get("/v1/sandboxes").json["sandboxes"]])
        host.wait_until(lambda: host.cgroups(daemon.group) == before, 20, "the groups are those of the one sandbox")
        host.wait_until(lambda: len(list((daemon.state_dir / "sandboxes").iterdir())) == 1, 20, "its record is gone")
        rows = daemon.client.get("/v1/usage?group_by=sandbox").json["rows"]
        self.assertLessEqual({row.get("sandbox") for row in rows}, {box.id, "", None})
        box.delete()
        self.assertEqual(0, daemon.stop())
        daemon.assert_nothing_left()

    def test_the_key_outlives_a_restart_and_a_stop_in_the_middle_of_the_first_test_leaves_nothing(self):
        daemon = self.daemon(wait=False)
        host.wait_until(lambda: daemon.status_of("/healthz") == 200, 30, "it answers")
        daemon.stop()                       # the first self-test is under way, or not yet begun
        daemon.assert_nothing_left()
        daemon.start()
        first = attest(daemon.client)["fingerprint"]
        daemon.stop()
        daemon.start()
        self.assertEqual(first, attest(daemon.client)["fingerprint"])

    def profile_with_a_hole(self):
        profile = json.loads((ROOT / "policies/seccomp/default.json").read_text())
        for calls in profile["errno"].values():
            if "userfaultfd" in calls:
                calls.remove("userfaultfd")
        profile["allow"] = sorted(profile["allow"] + ["userfaultfd"])
        profile["silent"] = [call for call in profile["silent"] if call != "userfaultfd"]
        file = tempfile.NamedTemporaryFile("w", suffix=".json")
        self.addCleanup(file.close)
        json.dump(profile, file)
        file.flush()
        return file.name

    def test_a_broken_wall_refuses_creates_and_says_so_everywhere(self):
        daemon = self.daemon(f'seccomp_profile = "{self.profile_with_a_hole()}"\n' + CONFIG, wait=False)
        host.wait_until(lambda: daemon.status_of("/healthz") == 200, 30, "it answers")
        client = Client(daemon.port, KEY)
        payload = json.loads(attest(client)["payload"])
        self.assertEqual("broken", payload["verdict"])
        self.assertEqual(["userfaultfd"], [wall["name"] for wall in payload["walls"] if wall["status"] == "broken"])
        refused = client.post("/v1/sandboxes", {})
        self.assertEqual(503, refused.status, refused)
        self.assertEqual("unavailable", refused.json["error"]["code"])
        self.assertIn("userfaultfd", refused.json["error"]["message"])
        ready = client.get("/readyz")
        self.assertEqual(503, ready.status)
        self.assertIn("userfaultfd", ready.json["error"]["message"])
        shown = sandboxctl(daemon, "attest", key=KEY)
        self.assertEqual(1, shown.returncode)
        self.assertRegex(shown.stdout, r"(?m)^userfaultfd +broken +yes ")
        doctor = sandboxctl(daemon, "--json", "doctor", key=KEY)
        self.assertEqual(1, doctor.returncode)
        self.assertEqual(["fail"], [check["severity"] for check in json.loads(doctor.stdout)["checks"] if check["name"] == "daemon.walls"])

    def test_what_the_configuration_accepts_is_said_and_refuses_nothing(self):
        daemon = self.daemon(f'seccomp_profile = "{self.profile_with_a_hole()}"\nunsafe_accept_broken_walls = ["userfaultfd"]\n' + CONFIG)
        client = Client(daemon.port, KEY)
        payload = json.loads(attest(client)["payload"])
        self.assertEqual(["userfaultfd"], payload["accepted_broken"])
        self.assertEqual("broken", payload["verdict"])
        self.assertEqual(200, client.get("/readyz").status)
        client.create().delete()

    def test_a_wall_that_does_not_exist_can_t_be_accepted(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('unsafe_accept_broken_walls = ["moat"]\n')
            file.flush()
            answer = subprocess.run([str(bin_dir() / "sandboxd"), "--config", file.name, "--check-config"], capture_output=True, text=True,
                                    timeout=30, check=False)
        self.assertNotEqual(0, answer.returncode)
        self.assertIn("moat", answer.stderr)


class Document(unittest.TestCase):
    """docs/security.md against what the programs do."""

    def test_the_recipe_is_the_order_in_which_the_programs_work(self):
        text = (ROOT / "docs/security.md").read_text()
        recipe = text[text.index("## The jail's recipe"):]
        recipe = recipe[:recipe.index("\n## ", 3)]
        rows = re.findall(r"^\| `([a-z_]+)` \|", recipe, re.MULTILINE)
        printed = []
        for program in ("sandboxd", "sandbox-init"):
            answer = subprocess.run([str(bin_dir() / program), "--print-stages"], capture_output=True, text=True, check=True)
            printed += [line.split()[0] for line in answer.stdout.splitlines()]
        self.assertEqual(printed, rows)

    def test_the_profile_counts_are_those_of_the_files(self):
        text = (ROOT / "docs/security.md").read_text()
        for name in ("default", "strict", "debug"):
            profile = json.loads((ROOT / f"policies/seccomp/{name}.json").read_text())
            self.assertRegex(text, rf"\| sandboxd `{name}`[^|]*\| {len(profile['allow'])} \| {len(profile['arguments'])} \|")
