#!/usr/bin/python3
"""The checks find what they are for: each rule sees a bad line, and leaves a good one alone."""
import pathlib
import tempfile
import unittest

import check_coroutines
import check_layers
import check_text


def tree(files):
    folder = tempfile.TemporaryDirectory()
    for name, text in files.items():
        path = pathlib.Path(folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class Layers(unittest.TestCase):
    def bad(self, name, line):
        self.assertEqual(1, len(check_layers.check_file(name, line + "\n")), line)

    def good(self, name, line):
        self.assertEqual([], check_layers.check_file(name, line + "\n"))

    def test_an_include_that_goes_up_is_found(self):
        self.bad("sandboxd/core/a.cpp", '#include "policies/limits.hpp"')
        self.bad("fs/pool.cpp", '#include "isolation/jail.hpp"')
        self.bad("api/run.cpp", '#include "sandboxd/agent/protocol.hpp"')
        self.bad("sandboxd/engine/a.cpp", '#include "api/exchange.hpp"')

    def test_the_init_includes_three_headers_of_ours_only(self):
        self.good("isolation/init/main.cpp", '#include "isolation/launch_plan.hpp"')
        self.bad("isolation/init/main.cpp", '#include "sandboxd/core/sys.hpp"')
        self.bad("isolation/init/main.cpp", "#include <seccomp.h>")
        self.bad("sandboxd/monitor_main.cpp", '#include "isolation/init/table.hpp"')
        self.good("isolation/probe/main.cpp", '#include "isolation/tested_walls.hpp"')
        self.bad("isolation/probe/main.cpp", '#include "sandboxd/core/sys.hpp"')
        self.bad("isolation/probe/main.cpp", "#include <seccomp.h>")
        self.bad("sandboxd/attest/self_test.cpp", '#include "isolation/probe/report.hpp"')

    def test_allowed_includes_are_left_alone(self):
        self.good("fs/pool.cpp", '#include "isolation/mount_plan.hpp"')
        self.good("api/run.cpp", '#include "sandboxd/engine/engine.hpp"')
        self.good("api/run.cpp", '// #include "isolation/jail.hpp"')

    def test_a_third_party_in_a_header_is_found(self):
        self.bad("api/exchange.hpp", "#include <nlohmann/json.hpp>")
        self.good("api/exchange.hpp", "#include <nlohmann/json_fwd.hpp>")
        self.good("api/exchange.cpp", "#include <nlohmann/json.hpp>")

    def test_beast_outside_of_the_api_is_found(self):
        self.bad("sandboxd/engine/a.cpp", "#include <boost/beast/core.hpp>")

    def test_an_unknown_folder_is_found(self):
        self.bad("helpers/a.cpp", "int x;")


class Text(unittest.TestCase):
    def found(self, check, files):
        with tree(files) as folder:
            return check(pathlib.Path(folder))

    def test_errno_outside_of_its_homes_is_found(self):
        self.assertEqual(1, len(self.found(check_text.errno, {"fs/a.cpp": "int f() { return errno; }\n"})))
        self.assertEqual([], self.found(check_text.errno, {"sandboxd/core/sys.cpp": "int f() { return errno; }\n",
                                                           "fs/b.cpp": '// errno\nauto s = "errno"; int is_errno();\n'}))

    def test_a_catch_all_is_found(self):
        self.assertEqual(1, len(self.found(check_text.catch_all, {"fs/a.cpp": "try {} catch (...) {}\n"})))

    def test_todos_that_may_not_be_merged_are_found(self):
        self.assertEqual(2, len(self.found(check_text.todo, {"fs/a.cpp": "// TODO" + "(now): x\n// TODO" + ": y\n"})))
        self.assertEqual([], self.found(check_text.todo, {"fs/a.cpp": "// TODO" + "(perf): x\n"}))

    def test_machine_paths_are_found(self):
        self.assertEqual(1, len(self.found(check_text.machine_paths, {"docs/a.md": "see /" + "work/main/x\n"})))

    def test_headers_without_a_guard_are_found(self):
        self.assertEqual(2, len(self.found(check_text.using_namespace, {"fs/a.hpp": "using namespace std;\n"})))

    def test_long_or_missing_pages_are_found(self):
        self.assertEqual(1, len(self.found(check_text.pages, {"fs/a.cpp": ""})))
        self.assertEqual(1, len(self.found(check_text.pages, {"fs/a.cpp": "", "fs/README.md": "x\n" * 41})))
        self.assertEqual([], self.found(check_text.pages, {"fs/a.cpp": "", "fs/README.md": "x\n" * 40}))

    def test_big_files_are_reported(self):
        self.assertEqual(1, len(self.found(check_text.sizes, {"fs/a.hpp": "\n" * 201})))


class Coroutines(unittest.TestCase):
    def bad(self, statement):
        text = f"awaitable<void> f() {{\n    {statement}\n}}\n"
        found = check_coroutines.check_text("a.cpp", text)
        self.assertEqual(1, len(found), f"{statement}: {found}")
        self.assertIn(":2:", found[0])

    def good(self, statement):
        text = f"awaitable<void> f() {{\n    {statement}\n}}\n"
        self.assertEqual([], check_coroutines.check_text("a.cpp", text), statement)

    def test_each_miscompiled_shape_is_found(self):
        self.bad("co_await f([s] { return s; });")
        self.bad("auto r = co_await co_spawn(ex, [p = std::move(p)]() mutable -> awaitable<void> { co_return; }, use_awaitable);")
        self.bad("co_await f(Opt{a, b});")
        self.bad("co_await f(std::array<int, 2>{1, 2});")
        self.bad("SBX_CO_TRY(auto x, co_await f({a, b}));")
        self.bad("auto r = c ? co_await a() : co_await b();")
        self.bad("switch ((co_await f())->size()) { case 1: break; }")
        self.bad("g(co_await a(), co_await b());")
        self.bad("if (!co_await f()) co_return;")
        self.bad("while (!co_await f()) g();")
        self.bad("if (auto r = co_await f(Opt{a}); !r) { co_return; }")

    def test_safe_shapes_are_left_alone(self):
        self.good("Opt o{a, b};\n co_await f(std::move(o));")
        self.good("auto [a, b] = co_await f();")
        self.good("for (auto& x : co_await f()) { g(x ? 1 : 2); }")
        self.good("if (auto r = co_await f(); !r) co_return;")
        self.good("co_return Aggregate{1, 2};")
        self.good("auto work = [s]() -> awaitable<void> { co_await g(s); };\n co_await f(work);")
        self.good("co_await f({});")
        self.good("auto r = co_await f(Deadline::after(std::chrono::seconds{10}));")
        self.good("for (int i = 0; i < n; ++i) co_await f(i);")

    def test_the_body_of_a_lambda_is_checked_too(self):
        text = "void f() {\n    spawn([s]() -> awaitable<void> {\n        co_await g(Opt{s});\n    });\n}\n"
        self.assertEqual(1, len(check_coroutines.check_text("a.cpp", text)))

    def test_a_reason_in_a_comment_lets_a_statement_pass(self):
        self.good("co_await f(Opt{a, b});  // g++12: ok, Opt is trivial")


if __name__ == "__main__":
    unittest.main()
