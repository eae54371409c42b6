"""As root of the sandbox: eight capabilities over the sandbox's own files and processes, none over the host."""
import unittest

from host import wait_until
from workload import Workload

CONTROL = "Package: local-hello\nVersion: 1.2\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: local\n"


class Root(Workload):
    def as_root(self, box, shell, **fields):
        return self.ok(box, shell, user="root", cwd="/home/user", **fields)

    def test_dpkg_builds_installs_lists_and_removes_a_package(self):
        self.need("dpkg", "dpkg-deb")
        box = self.box()
        self.ok(box, "mkdir -p p/DEBIAN p/opt/hello/bin && cat > p/DEBIAN/control && printf '#!/bin/sh\\necho hello $((6 * 7))\\n' > p/opt/hello/bin/hello"
                " && printf '#!/bin/sh\\nset -e\\n[ \"$1\" = configure ]\\nid -u > /opt/by\\n' > p/DEBIAN/postinst"
                " && chmod 0755 p/DEBIAN/postinst p/opt/hello/bin/hello && dpkg-deb --build --root-owner-group p hello.deb", stdin=CONTROL)
        self.as_root(box, "dpkg -i hello.deb", seconds=90)
        self.assertEqual("hello 42\n0\n", self.ok(box, "/opt/hello/bin/hello; cat /opt/by"))
        self.assertEqual("ii  local-hello 1.2\n", self.ok(box, "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' local-hello"))
        self.as_root(box, "dpkg -r local-hello")
        self.assertEqual("gone\n", self.ok(box, "[ -e /opt/hello ] || echo gone"))

    def test_a_package_for_usr_is_refused_with_the_reason(self):
        """/usr is the host's and read-only: packages for /opt, /etc and /var can be installed, others not."""
        self.need("dpkg", "dpkg-deb")
        box = self.box()
        self.ok(box, "mkdir -p p/DEBIAN p/usr/share/local-hello && cat > p/DEBIAN/control && echo x > p/usr/share/local-hello/x"
                " && dpkg-deb --build --root-owner-group p hello.deb", stdin=CONTROL)
        self.refused(box, "dpkg -i hello.deb", "Read-only file system", user="root", cwd="/home/user")

    def test_chown_chmod_and_files_of_others(self):
        box = self.box()
        self.ok(box, "echo secret > mine && chmod 0600 mine")
        out = self.as_root(box, "cat mine; touch f; chown 1234:4321 f; stat -c '%u:%g' f; chown -R user:user .; stat -c %U f; chmod 4755 f;"
                                " stat -c %a f; ln -s /etc/passwd l; chown -h 7 l; stat -c %u l; stat -c %u /etc/passwd")
        self.assertEqual("secret\n1234:4321\nuser\n4755\n7\n0\n", out)

    def test_root_becomes_another_user_by_su_runuser_and_setpriv(self):
        box = self.box()
        for shell in ("su user -c 'id -un; pwd; echo $((6 * 7))'", "runuser -u user -- sh -c 'id -un; pwd; echo $((6 * 7))'"):
            with self.subTest(shell=shell):
                self.assertEqual("user\n/home/user\n42\n", self.as_root(box, shell))
        self.assertEqual("/home/user /bin/bash\n", self.as_root(box, "su - user -c 'echo $(pwd) $SHELL'"))
        self.assertEqual("1:1\n", self.as_root(box, "su daemon -s /bin/sh -c 'echo $(id -u):$(id -g)'"))
        self.assertEqual("1000 1000\n", self.as_root(box, "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'echo $(id -u) $(id -G)'"))

    def test_a_user_runs_commands_by_sudo(self):
        box = self.box()
        self.assertEqual("0 1000\n", self.ok(box, "echo $(sudo id -u) $(id -u)"))
        self.ok(box, "echo hello | sudo tee /etc/motd > /dev/null && sudo chown 7:8 /etc/motd")
        self.assertEqual("7:8 hello\n", self.ok(box, "stat -c %u:%g /etc/motd | tr '\\n' ' '; sudo cat /etc/motd"))
        self.assertEqual(5, box.exec("sudo sh -c 'exit 5'")["exit_code"])

    def test_nobody_is_an_id_that_nobody_can_take(self):
        """65534 is what the kernel shows for ids without a name here, PID 1's among them: it stays unmapped."""
        self.refused(self.box(), "su nobody -s /bin/sh -c id", "Invalid argument", user="root")

    def test_no_user_becomes_root(self):
        box = self.box()
        self.refused(box, "su root -c 'id -u'", "su:", stdin="\n")
        self.refused(box, "su user -c \"su root -c 'id -u'\"", "su:", user="root", stdin="\n")
        self.refused(box, "setpriv --reuid 0 id -u", "not permitted")
        self.as_root(box, "cp /usr/bin/id idu && chown root idu && chmod 6755 idu")
        self.assertEqual("1000\n", self.ok(box, "./idu -u"))  # no_new_privs: the bit is there and does nothing

    def test_accounts_can_be_added(self):
        self.need("useradd")
        box = self.box()
        self.as_root(box, "groupadd -g 2000 team && useradd -u 2000 -g team -m -s /bin/sh bob")
        self.assertEqual("bob team /home/bob\n", self.as_root(box, "su - bob -c 'echo $(id -un) $(id -gn) $(pwd)'"))
        self.assertEqual("2000\n", self.ok(box, "id -u", user="2000:2000"))

    def test_a_signal_reaches_other_users(self):
        box = self.box()
        exec_id = box.start("echo $$; exec sleep 600")
        pid = wait_until(lambda: box.output(exec_id).decode().strip(), 20, "the program says its pid")
        self.as_root(box, f"kill {pid}")
        wait_until(lambda: box.exec_info(exec_id)["status"] == "signaled", 20, "it ends")

    @unittest.expectedFailure
    def test_root_sees_the_processes_of_users(self):
        """hidepid=invisible hides them from whoever may not trace them, root without CAP_SYS_PTRACE among them: needs gid=0 on /proc."""
        box = self.box()
        box.start("exec sleep 600")
        wait_until(lambda: box.exec("pgrep -c sleep")["stdout"] == "1\n", 20, "the program runs")
        self.assertEqual("1\n", self.as_root(box, "pgrep -c sleep"))

    def test_ports_below_1024_can_be_used_by_root_and_by_users(self):
        ask = "import socket; s = socket.create_server(('127.0.0.1', 80)); print(s.getsockname()[1])"
        for user in ("root", "user"):
            with self.subTest(user=user):
                self.assertEqual("80\n", self.ok(self.box(), argv=["python3", "-c", ask], user=user))


if __name__ == "__main__":
    unittest.main()
