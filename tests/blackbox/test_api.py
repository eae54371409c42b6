"""The contract of the native API: authentication, error shape, strictness, ids, paging, idempotency, quotas."""
import json
import re
import socket
import threading
import unittest

from case import DaemonCase

ID = r"^[a-z0-9]{8,40}$"
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


class Operations(DaemonCase):
    def test_health_readiness_and_metrics_need_no_key(self):
        bare = self.client.with_key("")
        self.assertEqual(200, bare.get("/healthz").status)
        self.assertEqual(200, bare.get("/readyz").status)
        metrics = bare.get("/metrics")
        self.assertEqual(200, metrics.status)
        self.assertIn("# TYPE", metrics.body.decode())
        for line in metrics.body.decode().splitlines():
            self.assertRegex(line, r"^(#.*|[a-zA-Z_:][\w:]*(\{.*\})? \S+)$")

    def test_the_openapi_document_names_every_route(self):
        document = self.client.with_key("").expect(200, "GET", "/openapi.json").json
        self.assertTrue(document["openapi"].startswith("3.1"))
        paths = set(document["paths"])
        self.assertLessEqual({"/v1/run", "/v1/sandboxes", "/v1/sandboxes/{id}", "/v1/sandboxes/{id}/exec",
                              "/v1/sandboxes/{id}/exec/{exec_id}", "/v1/sandboxes/{id}/exec/{exec_id}/output",
                              "/v1/sandboxes/{id}/files", "/v1/sandboxes/{id}/files/list", "/v1/usage", "/v1/templates"}, paths)
        text = json.dumps(document)
        for reference in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
            self.assertIn(reference, document["components"]["schemas"])

    def test_every_answer_has_a_request_id_and_keeps_a_good_one(self):
        self.assertTrue(self.client.get("/healthz").headers["x-request-id"])
        self.assertEqual("abc-123", self.client.get("/healthz", headers={"X-Request-Id": "abc-123"}).headers["x-request-id"])


class Authentication(DaemonCase):
    ROUTES = [("GET", "/v1/sandboxes"), ("POST", "/v1/run"), ("POST", "/v1/sandboxes"), ("GET", "/v1/usage"),
              ("GET", "/v1/sandboxes/abcdefgh"), ("DELETE", "/v1/sandboxes/abcdefgh"), ("GET", "/v1/templates"),
              ("GET", "/v1/sandboxes/abcdefgh/files?path=x"), ("GET", "/v1/admin/tenants")]

    def test_without_a_key_or_with_a_wrong_one_everything_is_401(self):
        for key in ("", "wrong", self.daemon.key[:-1], self.daemon.key + "x"):
            for method, path in self.ROUTES:
                with self.subTest(method=method, path=path):
                    answer = self.client.with_key(key).request(method, path, body=b"{}")
                    self.assert_error(answer, 401, "unauthorized")
                    self.assertIn("www-authenticate", answer.headers)

    def test_x_api_key_is_as_good_as_a_bearer_token(self):
        answer = self.client.with_key("").get("/v1/sandboxes", headers={"X-API-KEY": self.daemon.key})
        self.assertEqual(200, answer.status)

    def test_the_key_is_in_no_answer_and_not_in_the_log(self):
        self.client.get("/v1/sandboxes")
        self.client.get("/nowhere")
        self.assertNotIn(self.daemon.key, self.daemon.log_path.read_text(errors="replace"))

    def test_another_tenants_sandbox_looks_like_one_that_never_was(self):
        box = self.box()
        other = self.other_tenant()
        for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/exec"), ("GET", "/exec"), ("POST", "/pause"),
                             ("GET", "/files?path=/etc/passwd"), ("PUT", "/files?path=x")):
            with self.subTest(method=method, path=path):
                body = b'{"argv":["true"]}' if path == "/exec" and method == "POST" else b"{}"
                theirs = other.request(method, box.path + path, body=body)
                never = other.request(method, "/v1/sandboxes/nosuchsandbox1" + path, body=body)
                self.assertEqual(never.status, theirs.status, (theirs, never))
                if theirs.status != 204:
                    self.assertEqual(never.json["error"]["code"], theirs.json["error"]["code"])
                    self.assertEqual(never.json["error"]["message"].replace("nosuchsandbox1", box.id), theirs.json["error"]["message"])
        self.assertEqual(200, self.client.get(box.path).status, "the other tenant's DELETE reached it")
        self.assertNotIn(box.id, other.get("/v1/sandboxes").body.decode())

    def other_tenant(self):
        self.client.expect(200, "PUT", "/v1/admin/tenants/other", json={})
        answer = self.client.post("/v1/admin/keys", {"tenant": "other", "label": "test"})
        self.assertIn(answer.status, (200, 201), answer)
        secret = next(value for value in answer.json.values() if isinstance(value, str) and value.startswith("sbx_"))
        return self.client.with_key(secret)

    def test_a_key_without_admin_rights_reaches_no_admin_route(self):
        other = self.other_tenant()
        for method, path in (("GET", "/v1/admin/tenants"), ("GET", "/v1/admin/keys"), ("POST", "/v1/admin/cordon")):
            with self.subTest(path=path):
                self.assert_error(other.request(method, path, body=b"{}" if method == "POST" else None), 403, "forbidden")

    def test_a_revoked_key_stops_at_once(self):
        answer = self.client.post("/v1/admin/keys", {"tenant": "dev", "label": "short"}).json
        text = json.dumps(answer)
        secret = re.search(r"sbx_[\w-]{43}", text).group(0)
        key_id = next(value for name, value in answer.items() if name in ("id", "key_id"))
        short = self.client.with_key(secret)
        self.assertEqual(200, short.get("/v1/sandboxes").status)
        self.client.expect(204, "DELETE", f"/v1/admin/keys/{key_id}")
        self.assertEqual(401, short.get("/v1/sandboxes").status)
        self.assertNotIn(secret, self.client.get("/v1/admin/keys").body.decode())


class Strictness(DaemonCase):
    def refused(self, path, body, field, code="invalid_argument"):
        error = self.assert_error(self.client.post(path, body), 400, code)
        self.assertIn(field, f"{error['message']} {error['details']}")

    def test_unknown_fields_are_refused_by_name(self):
        self.refused("/v1/run", {"language": "python", "code": "1", "tiemout_ms": 5}, "tiemout_ms")
        self.refused("/v1/sandboxes", {"memory_mb": 5}, "memory_mb")
        self.refused("/v1/sandboxes", {"limits": {"memory": 5}}, "limits.memory")

    def test_wrong_types_are_refused_by_name(self):
        good = {"language": "bash", "code": "true"}
        for field, value in (("timeout_ms", "5"), ("timeout_ms", 1.5), ("timeout_ms", True), ("code", 1), ("env", []),
                             ("env", {"A": 1}), ("files", {"x": 1}), ("limits", 5), ("language", ["bash"])):
            with self.subTest(field=field, value=value):
                self.refused("/v1/run", {**good, field: value}, field)
        self.refused("/v1/run", {**good, "limits": {"memory_mb": "64"}}, "limits.memory_mb")

    def test_values_out_of_range_are_refused_with_what_is_allowed(self):
        for limits in ({"memory_mb": 0}, {"memory_mb": -1}, {"pids": 0}, {"cpus": 0}, {"cpus": -1}, {"disk_mb": 1}):
            with self.subTest(limits=limits):
                self.refused("/v1/sandboxes", {"limits": limits}, "limits." + next(iter(limits)))
        self.refused("/v1/run", {"language": "bash", "code": "true", "timeout_ms": -1}, "timeout_ms")

    def test_above_the_tenants_ceiling_the_answer_says_limit_asked_and_allowed(self):
        answer = self.client.post("/v1/sandboxes", {"limits": {"memory_mb": 10_000_000}})
        error = self.assert_error(answer, 400, "limit_exceeded", "memory_mb")
        self.assertEqual(10_000_000, error["details"]["asked"])
        self.assertGreater(error["details"]["allowed"], 0)
        self.assertIn("limit", error["details"])

    def test_missing_fields_are_refused_by_name(self):
        self.refused("/v1/run", {"language": "python"}, "code")
        self.refused("/v1/run", {"code": "1"}, "language")

    def test_what_is_no_json_is_refused(self):
        for body in (b"", b"{", b"[]", b'"x"', b"null", b'{"language":"bash","code":"true",}', b'{"a":1,"a":2}', b"{" * 100_000,
                     b'{"language":"bash","language":"python","code":"1"}', b"\xff\xfe", b'{"code":"\xff","language":"bash"}'):
            with self.subTest(body=body[:40]):
                answer = self.client.request("POST", "/v1/run", body=body, headers={"Content-Type": "application/json"})
                self.assert_error(answer, 400, "invalid_argument")

    def test_what_this_version_lacks_is_refused_not_ignored(self):
        for field, value in (("gpu", {"count": 1}), ("budget", {"amount": "1"}), ("network", {"mode": "open"})):
            with self.subTest(field=field):
                answer = self.client.post("/v1/sandboxes", {field: value})
                self.assertIn(answer.status, (400, 409), answer)
                self.assertIn(field, str(answer.json["error"]))

    def test_an_unknown_template_is_refused_with_those_that_exist(self):
        answer = self.client.post("/v1/sandboxes", {"template": "nope"})
        self.assertIn(answer.status, (400, 404), answer)
        self.assertIn("host", str(answer.json["error"]))

    def test_unknown_routes_and_methods_have_the_error_shape(self):
        self.assert_error(self.client.get("/v1/nothing"), 404, "not_found")
        answer = self.client.request("PUT", "/v1/sandboxes", body=b"{}")
        self.assert_error(answer, 405, "method_not_allowed")
        self.assertEqual({"GET", "POST"}, {name.strip() for name in answer.headers["allow"].split(",")} - {"HEAD", "OPTIONS"})

    def test_malformed_ids_are_404_or_400_never_500(self):
        for name in ("x", "A" * 12, "a" * 41, "..%2F..%2Fetc", "a%00bcdefgh", "abc defgh", "%ff%fe12345678"):
            with self.subTest(name=name):
                self.assertIn(self.raw(f"GET /v1/sandboxes/{name.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\n"
                                       f"Authorization: Bearer {self.daemon.key}\r\nConnection: close\r\n\r\n"), (400, 404))

    def raw(self, text):
        """Status of a hand-written request; 0 when the server only closed."""
        with socket.create_connection(self.client.address, timeout=20) as connection:
            connection.sendall(text if isinstance(text, bytes) else text.encode())
            line = connection.makefile("rb").readline()
        return int(line.split()[1]) if line else 0

    def test_smuggling_shapes_are_refused(self):
        head = f"POST /v1/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.daemon.key}\r\n"
        for more in ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                     "Content-Length: -1\r\n\r\n", "Content-Length: 5x\r\n\r\nabcde", "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                     "X: y\x00z\r\n\r\n"):
            with self.subTest(more=more):
                self.assertIn(self.raw(head + more), (0, 400, 501))

    def test_oversize_heads_and_bodies_are_refused_and_the_server_lives(self):
        self.assertIn(self.raw("GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + "a" * 100_000 + "\r\n\r\n"), (0, 400, 413, 431))
        self.assertIn(self.raw("GET / HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: 1\r\n" for n in range(500)) + "\r\n"), (0, 400, 431))
        answer = self.raw(f"POST /v1/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.daemon.key}\r\n"
                          f"Content-Length: {10 << 30}\r\n\r\n")
        self.assertEqual(413, answer)
        self.assertEqual(200, self.client.get("/healthz").status)


class Sandboxes(DaemonCase):
    def test_the_life_of_a_sandbox(self):
        answer = self.client.post("/v1/sandboxes", {"metadata": {"job": "a"}, "timeout_s": 60})
        self.assertEqual(201, answer.status, answer)
        info = answer.json
        self.assertRegex(info["id"], ID)
        self.assertEqual(f"/v1/sandboxes/{info['id']}", answer.headers["location"])
        self.assertEqual(("running", "host", "none", 60, "kill"),
                         (info["state"], info["template"], info["network"] if isinstance(info["network"], str) else info["network"]["mode"],
                          info["timeout_s"], info["on_timeout"]))
        self.assertEqual({"cpus": 1, "memory_mb": 512, "disk_mb": 1024, "pids": 256},
                         {name: info["limits"][name] for name in ("cpus", "memory_mb", "disk_mb", "pids")})
        self.assertEqual({"job": "a"}, info["metadata"])
        self.assertRegex(info["created_at"], TIME)
        self.assertRegex(info["expires_at"], TIME)
        self.assertEqual(info["id"], self.client.expect(200, "GET", f"/v1/sandboxes/{info['id']}").json["id"])
        patched = self.client.expect(200, "PATCH", f"/v1/sandboxes/{info['id']}", json={"metadata": {"job": "b"}}).json
        self.assertEqual({"job": "b"}, patched["metadata"])
        self.assertEqual(204, self.client.request("DELETE", f"/v1/sandboxes/{info['id']}").status)
        self.assertEqual(204, self.client.request("DELETE", f"/v1/sandboxes/{info['id']}").status, "DELETE is idempotent")
        gone = self.client.get(f"/v1/sandboxes/{info['id']}")
        self.assertIn((gone.status, gone.json["error"]["code"]), ((404, "not_found"), (410, "gone")))

    def test_lists_are_paged_and_filtered(self):
        boxes = [self.box(metadata={"page": "yes", "n": str(number)}, limits={"memory_mb": 64}) for number in range(5)]
        self.box(limits={"memory_mb": 64})
        seen, cursor = [], ""
        for _ in range(10):
            page = self.client.expect(200, "GET", f"/v1/sandboxes?limit=2&metadata.page=yes{cursor}").json
            self.assertLessEqual(len(page["sandboxes"]), 2)
            seen += [item["id"] for item in page["sandboxes"]]
            if not page.get("next_cursor"):
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual([box.id for box in reversed(boxes)], seen)
        self.assertEqual([], self.client.expect(200, "GET", "/v1/sandboxes?metadata.page=yes&state=paused").json["sandboxes"])
        self.assert_error(self.client.get("/v1/sandboxes?limit=frog"), 400, "invalid_argument", "limit")
        self.assert_error(self.client.get("/v1/sandboxes?cursor=%21%21"), 400, "invalid_argument", "cursor")

    def test_templates_are_listed(self):
        self.assertIn("host", self.client.expect(200, "GET", "/v1/templates").body.decode())

    def test_an_id_of_another_node_is_node_lost(self):
        own = self.box().id
        foreign = foreign_id(own)
        self.assert_error(self.client.get(f"/v1/sandboxes/{foreign}"), 410, "node_lost")


def foreign_id(own):
    """An id of ours moved to another node, with right check digits (sandboxd/core/ids.cpp: ten bits of FNV-1a)."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    body = own[:7] + ("1" if own[7] != "1" else "2") + own[8:24]
    value = 2166136261
    for letter in body.encode():
        value = (value ^ letter) * 16777619 % (1 << 32)
    value = (value ^ value >> 10 ^ value >> 20) & 1023
    return body + alphabet[value >> 5] + alphabet[value & 31]


class Idempotency(DaemonCase):
    def test_the_same_key_and_body_make_one_sandbox(self):
        headers = {"Idempotency-Key": "make-" + self.id()}
        first = self.client.post("/v1/sandboxes", {"metadata": {"a": "1"}}, headers=headers)
        second = self.client.post("/v1/sandboxes", {"metadata": {"a": "1"}}, headers=headers)
        self.addCleanup(self.client.request, "DELETE", f"/v1/sandboxes/{first.json['id']}")
        self.assertEqual((201, 201), (first.status, second.status))
        self.assertEqual(first.json["id"], second.json["id"])
        self.assertEqual("true", second.headers["idempotent-replay"])
        other = self.client.post("/v1/sandboxes", {"metadata": {"a": "2"}}, headers=headers)
        self.assert_error(other, 409, "conflict")

    def test_a_run_with_a_key_runs_once_also_when_asked_twice_at_once(self):
        headers = {"Idempotency-Key": "run-" + self.id()}
        body = {"language": "bash", "code": "cat /proc/sys/kernel/random/uuid; sleep 0.5"}
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.daemon.client.post("/v1/run", body, headers=headers))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outputs = {answer.json["stdout"] for answer in answers if answer.status == 200}
        self.assertEqual(1, len(outputs), answers)
        self.assertLessEqual({answer.status for answer in answers}, {200, 409})
        self.assertEqual(outputs, {self.client.post("/v1/run", body, headers=headers).json["stdout"]})

    def test_a_key_that_is_too_long_is_refused(self):
        answer = self.client.post("/v1/sandboxes", {}, headers={"Idempotency-Key": "x" * 300})
        self.assert_error(answer, 400, "invalid_argument", "Idempotency-Key")


class Quotas(DaemonCase):
    def test_a_tenant_at_its_quota_is_told_which_and_how_much(self):
        self.client.expect(200, "PUT", "/v1/admin/tenants/small", json={"limits": {"sandboxes": 2}})
        answer = self.client.post("/v1/admin/keys", {"tenant": "small", "label": "q"})
        small = self.client.with_key(re.search(r"sbx_[\w-]{43}", answer.body.decode()).group(0))
        boxes = [small.create(limits={"memory_mb": 64}) for _ in range(2)]
        for box in boxes:
            self.addCleanup(box.delete)
        self.assert_error(small.post("/v1/sandboxes", {"limits": {"memory_mb": 64}}), 429, "tenant_quota", "2")
        boxes[0].delete()
        replacement = small.create(limits={"memory_mb": 64})
        self.addCleanup(replacement.delete)

    def test_a_cordoned_node_refuses_new_sandboxes_and_keeps_the_rest(self):
        box = self.box()
        self.client.post("/v1/admin/cordon", {})
        try:
            self.assert_error(self.client.post("/v1/sandboxes", {}), 503, "draining")
            self.assertEqual(503, self.client.get("/readyz").status)
            self.assertEqual(200, self.client.get("/healthz").status)
            self.assertEqual("still\n", box.exec("echo still")["stdout"])
        finally:
            self.client.post("/v1/admin/uncordon", {})
        self.assertEqual(200, self.client.get("/readyz").status)


if __name__ == "__main__":
    unittest.main()
