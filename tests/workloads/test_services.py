"""Programs that stay: a database, a web server, a terminal multiplexer. Started by one exec, used by the next."""
import json
import shlex
import unittest

from host import wait_until
from workload import Workload


class PostgreSQL(Workload):
    def setUp(self):
        self.need("initdb")
        self.folder = self.paths_of("initdb")[-1].rpartition("/")[0]

    def test_a_cluster_is_made_started_queried_and_stopped_as_the_user(self):
        box = self.box(limits={"cpus": 2}, env={"PATH": f"{self.folder}:/usr/bin:/bin", "PGHOST": "/tmp", "PGDATABASE": "postgres"})
        self.ok(box, "initdb -D db -A trust -U user --no-sync", seconds=180)
        # The socket belongs where the user may write.
        self.ok(box, "pg_ctl -D db -l db.log -w -t 90 -o '-k /tmp -h 127.0.0.1' start || { cat db.log; exit 1; }", seconds=120)
        self.ok(box, "psql -q", stdin="create table t as select n::bigint from generate_series(1, 100000) n;\n"
                "create index on t (n);\nvacuum analyze t;\n")
        query = "select count(*), sum(n), max(sqrt(n))::int from t"
        for place in ("/tmp", "127.0.0.1"):
            self.assertEqual(f"100000|{100000 * 100001 // 2}|316\n", self.ok(box, f"psql -h {place} -At -c {shlex.quote(query)}"))
        # A parallel plan: worker processes and dynamic shared memory.
        out = self.ok(box, "psql -At", stdin="set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0;\n"
                      "set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; set enable_indexscan = off;\n"
                      "set enable_indexonlyscan = off; set enable_bitmapscan = off;\n"
                      "explain analyze select sum(n) from t;\nselect sum(n) from t;\n")
        self.assertRegex(out, r"Workers Launched: [1-2]")
        self.assertTrue(out.endswith(f"\n{100000 * 100001 // 2}\n"), out)
        self.ok(box, "pg_ctl -D db -m fast -w stop")
        self.assertEqual("0\n", self.ok(box, "pgrep -c postgres; true"))

    def test_it_refuses_to_run_as_root(self):
        """PostgreSQL's own rule, and a reason why everything runs as `user` unless asked."""
        self.refused(self.box(), f"{self.folder}/initdb -D /root/db", "cannot be run as root", user="root")


class Web(Workload):
    def test_a_server_outlives_its_exec_and_answers_the_next(self):
        self.need("curl")
        box = self.box()
        self.write(box, site__index_html="<h1>forty-two</h1>\n")
        self.ok(box, "nohup python3 -m http.server 8000 --bind 127.0.0.1 --directory site > server.log 2>&1 & echo started")
        wait_until(lambda: box.exec("curl -sf http://127.0.0.1:8000/")["stdout"] == "<h1>forty-two</h1>\n", 30, "the server answers")
        self.assertEqual("404", self.ok(box, "curl -s -o /dev/null -w '%{http_code}' http://localhost:8000/none"))
        self.assertIn("GET / HTTP", box.read("server.log").decode())

    def test_two_sandboxes_serve_on_the_same_port_each_its_own(self):
        boxes = [self.box(), self.box()]
        ask = "import socket; print(socket.create_connection(('127.0.0.1', 9000), 5).recv(9).decode())"
        for number, box in enumerate(boxes):
            code = f"import socket; s = socket.create_server(('0.0.0.0', 9000)); c, _ = s.accept(); c.sendall(b'{number}')"
            box.start(f"python3 -c {shlex.quote(code)}")
        for number, box in enumerate(boxes):
            said = wait_until(lambda box=box: box.exec(argv=["python3", "-c", ask])["stdout"], 30, "the server answers")
            self.assertEqual(f"{number}\n", said)


class Tmux(Workload):
    def setUp(self):
        self.need("tmux")

    def test_a_detached_session_takes_keys_and_shows_its_screen(self):
        box = self.box()
        self.ok(box, "tmux new-session -d -s work -x 100 -y 30 'bash --norc'")
        self.ok(box, "tmux send-keys -t work 'echo total $((6 * 7))' Enter")
        wait_until(lambda: "\ntotal 42\n" in box.exec("tmux capture-pane -p -t work")["stdout"], 30, "the screen shows the sum")
        self.assertEqual("work 100x30\n", self.ok(box, "tmux list-windows -t work -F '#{session_name} #{window_width}x#{window_height}'"))
        self.ok(box, "tmux kill-server")

    def test_a_terminal_attaches_to_a_session_that_another_exec_types_into(self):
        box = self.box()
        with box.websocket() as socket:
            socket.send_json(type="start", argv=["tmux", "new-session", "-s", "work", "bash --norc"], pty=True, rows=25, cols=90)
            wait_until(lambda: box.exec("tmux list-clients -t work")["stdout"].count("\n") == 1, 30, "the terminal is attached")
            # The last of the 25 lines is tmux's own.
            self.assertEqual("90 24\n", self.ok(box, "tmux display -p -t work '#{window_width} #{window_height}'"))
            self.ok(box, "tmux send-keys -t work 'echo $((40 + 2)) $(tty) > answer; exit' Enter")
            end = socket.until("exit")[-1]
        self.assertEqual(("exited", 0), (end["status"], end["exit_code"]), json.dumps(end))
        self.assertRegex(box.read("answer"), rb"^42 /dev/pts/\d+\n$")


if __name__ == "__main__":
    unittest.main()
