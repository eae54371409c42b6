"""What each verb sends and shows, how it finds the daemon, and its exit codes."""
import json
import os
import shutil
import ssl
import subprocess

from cli_case import KEY, CliCase, Server, main
from fake_daemon import USAGE


class Run(CliCase):
    def body(self):
        return self.fake.requests[-1][2]

    def test_output_is_the_programs_bytes_and_the_exit_code_its_own(self):
        out, err = self.ctl("run", "-l", "python", "-c", "x", "--cost", code=3)
        self.assertEqual(b"first\xff\n", out)
        self.assertTrue(err.startswith(b"err\n"), err)
        self.assertIn(b"2.0 KiB of stdout were dropped", err)
        self.assertIn("cost 0.000123 USD · wall 1.02 s · cpu 35 ms · memory peak 24.1 MiB · prices test@1".encode(), err)
        self.assertEqual({"language": "python", "code": "x", "encoding": "base64"}, self.body())

    def test_output_comes_while_the_program_runs(self):
        child = self.start("run", "-c", "live")
        self.assertEqual(b"first\xff\n", child.stdout.readline())
        self.server.set(self.fake.go_on)
        self.assertEqual(3, child.wait(20))

    def test_what_the_options_become(self):
        data = os.path.join(self.folder.name, "data.bin")
        with open(data, "wb") as file:
            file.write(b"\xff\x00")
        self.ctl("run", "-l", "sh", "-c", "x", "-f", f"d.bin={data}", "--file", text_file(self.folder.name), "-e", "A=b=c", "-e", "FROM_HERE",
                 "--timeout", "1.5m", "--memory", "2g", "--cpus", "0.5", "--pids", "64", "--disk", "512", "--stdin", data,
                 env={"FROM_HERE": "yes"}, code=3)
        self.assertEqual({"language": "bash", "code": "x", "encoding": "base64", "timeout_ms": 90000,
                          "files": {"d.bin": {"base64": "/wA="}, "text.txt": "grün\n"}, "stdin": {"base64": "/wA="},
                          "env": {"A": "b=c", "FROM_HERE": "yes"},
                          "limits": {"memory_mb": 2048, "cpus": 0.5, "pids": 64, "disk_mb": 512}}, self.body())

    def test_the_language_comes_from_the_files_name(self):
        for name, language in (("a.py", "python"), ("a.sh", "bash"), ("a.mjs", "javascript"), ("a.sql", "sql")):
            path = os.path.join(self.folder.name, name)
            with open(path, "w") as file:
                file.write("code of " + name)
            self.ctl("run", path, code=3)
            self.assertEqual((language, "code of " + name), (self.body()["language"], self.body()["code"]))
        _, err = self.ctl("run", "/etc/hostname", code=125)
        self.assertIn(b"give -l", err)

    def test_code_comes_from_standard_input(self):
        self.ctl("run", "-l", "bash", input=b"echo hi", code=3)
        self.assertEqual("echo hi", self.body()["code"])

    def test_json_is_one_document_or_the_events(self):
        out, _ = self.ctl("--json", "run", "-c", "x", code=3)
        self.assertEqual("out", json.loads(out)["stdout"])
        out, _ = self.ctl("run", "--json", "--events", "-c", "x", code=3)
        self.assertEqual(["start", "stdout", "stderr", "truncated", "exit"], [json.loads(line)["type"] for line in out.splitlines()])

    def test_the_failures_that_are_not_the_programs(self):
        _, err = self.ctl("run", "-c", "refuse", code=125)
        self.assertIn(b"the ceiling is 4096", err)
        self.assertIn(b"asked=9000", err)
        _, err = self.ctl("run", "-c", "fail", code=125)
        self.assertIn(b"the sandbox was lost", err)
        _, err = self.ctl("run", "-c", "cut", code=125)
        self.assertIn(b"the stream ended before the program did", err)
        _, err = self.ctl("run", "-c", "timeout", code=137)
        self.assertIn(b"timed out after 60000 ms: raise timeout_ms", err)

    def test_a_reader_that_goes_ends_it_like_any_filter(self):
        read, write = os.pipe()
        child = self.start("run", "-c", "live", stdout=write)
        os.close(write)
        self.assertEqual(b"f", os.read(read, 1))
        os.close(read)
        self.server.set(self.fake.go_on)
        self.assertEqual(3, child.wait(20))  # nothing more was written to it


def text_file(folder):
    path = os.path.join(folder, "text.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write("grün\n")
    return path


class Sandboxes(CliCase):
    def test_create_prints_the_id(self):
        out, _ = self.ctl("create", "--memory", "1g", "--timeout", "10m", "--on-timeout", "pause", "--metadata", "job=42", "-t", "host")
        self.assertEqual(b"box00007\n", out)
        self.assertEqual({"limits": {"memory_mb": 1024}, "timeout_s": 600, "on_timeout": "pause", "metadata": {"job": "42"},
                          "template": "host"}, self.fake.requests[-1][2])

    def test_json_is_readable_by_line(self):
        # What scripts/quickstart.sh and the package's prerm do.
        out, _ = self.ctl("--json", "create")
        found = subprocess.run(["sed", "-n", r's/.*"id": *"\([a-z0-9]*\)".*/\1/p'], input=out, capture_output=True, check=True).stdout
        self.assertEqual(b"box00007\n", found)
        out, _ = self.ctl("--json", "ls")
        found = subprocess.run(["sed", "-n", r's/.*"id": *"\([a-z0-9]\{8,40\}\)".*/\1/p'], input=out, capture_output=True, check=True).stdout
        self.assertEqual([f"box{i:05d}" for i in range(5)], found.decode().split())

    def test_ls_shows_all_pages(self):
        out, _ = self.ctl("ls", "--metadata", "a b=c&d", "--state", "running")
        lines = out.decode().splitlines()
        self.assertEqual("ID        STATE    TEMPLATE", lines[0][:27])
        self.assertEqual(6, len(lines))
        self.assertIn("box00000  paused   host", lines[1])
        self.assertIn("0.000123 USD", lines[1])
        self.assertIn("metadata.a%20b=c%26d", self.fake.requests[0][1])
        self.assertIn("state=running", self.fake.requests[0][1])
        self.assertEqual(lines, [line.rstrip() for line in lines])
        out, _ = self.ctl("ls", "-q", "--limit", "3")
        self.assertEqual(b"box00000\nbox00001\nbox00002\n", out)

    def test_rm_tries_all(self):
        out, err = self.ctl("rm", "box00001", "missing0", "box00002", code=1)
        self.assertEqual(b"box00001\nbox00002\n", out)
        self.assertIn(b"missing0", err)
        self.ctl("rm", "box00001")
        self.ctl("rm", "missing0", code=1)

    def test_the_other_verbs(self):
        self.ctl("pause", "box00001")
        self.assertEqual(("POST", "/v1/sandboxes/box00001/pause", {}), self.fake.requests[-1])
        self.assertEqual(b"box00008\nbox00009\n", self.ctl("fork", "-n", "2", "box00001")[0])
        self.assertEqual({"count": 2}, self.fake.requests[-1][2])
        self.assertIn(b"no snapshots yet", self.ctl("snapshot", "box00001", code=1)[1])
        self.assertIn(b"host", self.ctl("template", "ls")[0])

    def test_a_name_from_outside_is_no_command_to_the_terminal(self):
        out, _ = self.ctl("key", "ls")
        self.assertIn(b"ci?[31m", out)

    def test_admin_verbs(self):
        out, err = self.ctl("key", "create", "--tenant", "acme", "--label", "ci", "--admin")
        self.assertEqual(b"sbx_new\n", out)
        self.assertIn(b"key00002", err)
        self.assertEqual({"tenant": "acme", "label": "ci", "admin": True}, self.fake.requests[-1][2])
        self.ctl("key", "revoke", "key00001")
        self.assertEqual(("DELETE", "/v1/admin/keys/key00001", None), self.fake.requests[-1])
        self.ctl("tenant", "set", "acme", "sandboxes=50", "allow_root=false")
        self.assertEqual(("PUT", "/v1/admin/tenants/acme", {"limits": {"sandboxes": 50, "allow_root": False}}), self.fake.requests[-1])
        self.assertIn(b"per_sandbox.pids=256 sandboxes=50", self.ctl("tenant", "ls")[0])
        self.ctl("tenant", "set", "acme", "per_sandbox.pids=64")
        self.assertEqual({"limits": {"per_sandbox": {"pids": 64}}}, self.fake.requests[-1][2])
        self.ctl("tenant", "set", "acme", "sandboxes=many", code=1)
        self.ctl("drain")
        out, err = self.ctl("drain", "--timeout", "1s", code=1)
        self.assertEqual(b"box00001 exec00001\n", out)
        self.assertIn(b"1 programs still run", err)
        self.ctl("cordon")
        self.assertEqual(("POST", "/v1/admin/cordon", {}), self.fake.requests[-1])

    def test_usage(self):
        out, _ = self.ctl("usage", "--from", "2026-01-01", "--to", "2026-02-01T00:00:00Z", "--by", "sandbox")
        lines = out.decode().splitlines()
        self.assertEqual(4, len(lines))
        self.assertTrue(lines[1].startswith("box00000") and lines[2].startswith("box00001") and lines[3].startswith("total"), lines)
        self.assertIn("from=2026-01-01T00%3A00%3A00.000Z&to=2026-02-01T00%3A00%3A00.000Z&group_by=sandbox", self.fake.requests[0][1])
        out, _ = self.ctl("usage", "--json")
        self.assertEqual({"rows": [{"sandbox": f"box0000{i}", "usage": USAGE} for i in (0, 1)], "total": USAGE}, json.loads(out))
        self.ctl("usage", "--from", "yesterday", code=1)
        self.ctl("usage", "--by", "hour", code=2)


class Finding(CliCase):
    def test_nobody_answers(self):
        _, err = self.ctl("--url", "http://127.0.0.1:1", "ls", code=1)
        self.assertIn(b"no daemon answers at http://127.0.0.1:1: start one with `sandboxd --dev`, or set SANDBOXD_URL", err)
        out, err = self.ctl("--url", "http://127.0.0.1:1", "--json", "ls", code=1)
        self.assertEqual(b"", out)
        self.assertEqual("unavailable", json.loads(err)["error"]["code"])

    def test_the_wrong_key_and_no_key(self):
        _, err = self.ctl("ls", "--key", "sbx_wrong", code=1)
        self.assertIn(b"not one of this daemon's", err)
        _, err = self.ctl("ls", "--state-dir", self.folder.name, env={"SANDBOXD_API_KEY": None}, code=1)
        self.assertIn(f"{self.folder.name}/dev.key".encode(), err)
        self.ctl("ls", "--key", "two words", code=1)

    def test_the_key_file_of_the_state_directory(self):
        with open(os.path.join(self.folder.name, "dev.key"), "w") as file:
            file.write(KEY + "\n")
        self.ctl("ls", "--state-dir", self.folder.name, env={"SANDBOXD_API_KEY": "sbx_of_another_daemon"})

    def test_the_unix_socket(self):
        self.ctl("ls", "--url", f"unix://{self.server.socket}")
        # Without an address and a key the socket of the state directory is it; the fake wants a key there all the same.
        _, err = self.ctl("ls", "--state-dir", self.server.folder.name, env={"SANDBOXD_URL": None, "SANDBOXD_API_KEY": None}, code=1)
        self.assertIn(f"unix://{self.server.socket}".encode(), err)
        self.assertIn(b"only root needs none", err)

    def test_https_only_with_an_authority_that_is_trusted(self):
        openssl = shutil.which("openssl")
        if not openssl:
            self.skipTest("openssl makes the certificate")
        certificate, key = (os.path.join(self.folder.name, name) for name in ("c.pem", "k.pem"))
        subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                        certificate, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = Server(ssl=context)
        self.addCleanup(server.stop)
        _, err = self.ctl("--url", server.url, "ls", code=1)
        self.assertIn(b"the certificate of https://127.0.0.1", err)
        self.assertIn(b"--ca-file", err)
        self.assertEqual([], server.fake.requests)
        self.ctl("--url", server.url, "--ca-file", certificate, "ls")
        out, _ = self.ctl("--url", server.url, "exec", "box00001", "echo", "over TLS", env={"SANDBOXD_CA_FILE": certificate})
        self.assertEqual(b"over TLS\n", out)
        _, err = self.ctl("--url", server.url.replace("127.0.0.1", "localhost"), "--ca-file", certificate, "ls", code=1)
        self.assertIn(b"the certificate of https://localhost", err)

    def test_doctor_looks_at_this_machine_and_the_daemon(self):
        child = self.start("doctor", "--json", "--state-dir", self.folder.name)
        report = json.loads(child.communicate(timeout=30)[0])
        self.assertEqual(0 if report["fit"] else 1, child.returncode)
        checks = {check["name"]: check for check in report["checks"]}
        self.assertEqual(len(report["checks"]), len(checks))
        self.assertEqual(report["fit"], all(check["severity"] != "fail" for check in checks.values()))
        self.assertIn(os.uname().release, checks["kernel.version"]["finding"])
        self.assertEqual("ok", checks["daemon.ready"]["severity"])
        for check in checks.values():
            self.assertTrue(check["cure"] or check["severity"] not in ("warn", "fail"), check)

    def test_completion_is_a_script_that_the_shell_takes(self):
        script, _ = self.ctl("completion", "bash")
        test = script + b"""
COMP_WORDS=(sandboxctl --json key cr); COMP_CWORD=3; _sandboxctl; echo "${COMPREPLY[@]}"
COMP_WORDS=(sandboxctl exec --wor); COMP_CWORD=2; _sandboxctl; echo "${COMPREPLY[@]}"
COMP_WORDS=(sandboxctl co); COMP_CWORD=1; _sandboxctl; echo "${COMPREPLY[@]}"
COMP_WORDS=(sandboxctl rm box00003 box); COMP_CWORD=3; sandboxctl() { echo box00004; }; _sandboxctl; echo "${COMPREPLY[@]}"
"""
        done = subprocess.run(["bash", "--norc"], input=test, capture_output=True, check=True)
        self.assertEqual(["create", "--workdir", "cordon completion", "box00004"], done.stdout.decode().splitlines(), done.stderr)

    def test_the_command_line(self):
        self.ctl("nonsense", code=2)
        self.ctl("ls", "--", "x", code=2)
        self.ctl(code=2)
        out, _ = self.ctl("--help")
        for verb in ("run", "create", "ls", "exec", "cp", "rm", "logs", "pause", "resume", "snapshot", "fork", "template", "usage", "doctor"):
            self.assertIn(f"\n  {verb} ".encode(), out)
            text, _ = self.ctl(verb, "--help")
            self.assertTrue(text.endswith(b"\n") and not text.endswith(b"\n\n"))
            if verb != "template":
                self.assertIn(b"\nExample: sandboxctl " + verb.encode(), text.replace(b"Example: id=$(sandboxctl", b"Example: sandboxctl"))


if __name__ == "__main__":
    main()
