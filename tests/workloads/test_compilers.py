"""Programs that are built inside and run there: C, C++, Rust, Go, Java. Each prints what it computed in threads."""
import unittest

from workload import Workload

PRIMES = sum(all(n % d for d in range(2, int(n ** 0.5) + 1)) for n in range(2, 20000))

C = """
#include <pthread.h>
#include <stdio.h>
static int counts[4];
static void* work(void* p) {
    int part = (int)(long)p;
    for (int n = 2 + part; n < 20000; n += 4) {
        int prime = 1;
        for (int d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
        counts[part] += prime;
    }
    return p;
}
int main(void) {
    pthread_t threads[4];
    for (long i = 0; i < 4; ++i) pthread_create(&threads[i], 0, work, (void*)i);
    for (int i = 0; i < 4; ++i) pthread_join(threads[i], 0);
    printf("%d\\n", counts[0] + counts[1] + counts[2] + counts[3]);
}
"""

MAKEFILE = """
app: main.o part.o
\t$(CC) -o $@ $^
%.o: %.c part.h
\t$(CC) -c -O2 -Wall -Werror -o $@ $<
"""

CXX = """
#include <atomic>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <regex>
#include <stdexcept>
#include <thread>
#include <vector>
int main() {
    std::atomic<int> count{0};
    std::vector<std::thread> threads;
    for (int part = 0; part < 4; ++part) threads.emplace_back([part, &count] {
        for (int n = 2 + part; n < 20000; n += 4) {
            bool prime = true;
            for (int d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
            count += prime;
        }
    });
    for (auto& thread : threads) thread.join();
    try { throw std::runtime_error("caught"); } catch (const std::exception& e) { std::cout << e.what() << ' '; }
    std::filesystem::create_directories("a/b");
    std::cout << count << ' ' << std::regex_match("2026-11", std::regex("[0-9]{4}-[0-9]{2}")) << std::filesystem::exists("a/b") << '\\n';
}
"""

RUST = """
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
fn prime(n: u32) -> bool { (2..).take_while(|d| d * d <= n).all(|d| n % d != 0) }
fn main() {
    let total = Arc::new(Mutex::new(0));
    let (sender, receiver) = mpsc::channel();
    for part in 0..4 {
        let (total, sender) = (Arc::clone(&total), sender.clone());
        thread::spawn(move || {
            *total.lock().unwrap() += (2 + part..20000).step_by(4).filter(|&n| prime(n)).count();
            sender.send(part).unwrap();
        });
    }
    drop(sender);
    println!("{} {}", total_of(receiver), total.lock().unwrap());
}
fn total_of(receiver: mpsc::Receiver<u32>) -> u32 { receiver.iter().sum() }
"""

GO = """
package main

import (
\t"fmt"
\t"os/exec"
\t"strings"
\t"sync"
)

func Prime(n int) bool {
\tfor d := 2; d*d <= n; d++ {
\t\tif n%d == 0 {
\t\t\treturn false
\t\t}
\t}
\treturn true
}

func main() {
\tcounts := make([]int, 4)
\tvar wait sync.WaitGroup
\tfor part := range counts {
\t\twait.Add(1)
\t\tgo func(part int) {
\t\t\tdefer wait.Done()
\t\t\tfor n := 2 + part; n < 20000; n += 4 {
\t\t\t\tif Prime(n) {
\t\t\t\t\tcounts[part]++
\t\t\t\t}
\t\t\t}
\t\t}(part)
\t}
\twait.Wait()
\tout, err := exec.Command("sh", "-c", "echo $((6 * 7))").Output()
\tfmt.Println(counts[0]+counts[1]+counts[2]+counts[3], strings.TrimSpace(string(out)), err)
}
"""

GO_TEST = """
package main

import "testing"

func TestPrime(t *testing.T) {
\tif !Prime(97) || Prime(91) {
\t\tt.Fatal("wrong")
\t}
}
"""

JAVA = """
import java.util.List;
import java.util.concurrent.*;
import java.util.stream.*;

public class Main {
    static boolean prime(int n) { return IntStream.iterate(2, d -> d * d <= n, d -> d + 1).noneMatch(d -> n % d == 0); }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Callable<Long>> parts = IntStream.range(0, 4).<Callable<Long>>mapToObj(part -> () ->
            IntStream.iterate(2 + part, n -> n < 20000, n -> n + 4).filter(Main::prime).count()).collect(Collectors.toList());
        long count = 0;
        for (Future<Long> part : pool.invokeAll(parts)) count += part.get();
        pool.shutdown();
        Process child = new ProcessBuilder("sh", "-c", "echo $((6 * 7))").start();
        String said = new String(child.getInputStream().readAllBytes()).trim();
        System.out.println(count + " " + said + " " + child.waitFor());
    }
}
"""


class C_family(Workload):
    def test_gcc_and_pthreads(self):
        self.need("gcc")
        box = self.box(limits={"cpus": 2})
        self.write(box, main_c=C)
        self.ok(box, "gcc -O2 -Wall -Werror -pthread -o app main.c", seconds=90)
        self.assertEqual(f"{PRIMES}\n", self.ok(box, "./app"))

    def test_gxx_with_threads_exceptions_and_the_standard_library(self):
        self.need("g++")
        box = self.box(limits={"cpus": 2})
        self.write(box, main_cpp=CXX)
        self.ok(box, "g++ -std=c++17 -O1 -pthread -o app main.cpp", seconds=120)
        self.assertEqual(f"caught {PRIMES} 11\n", self.ok(box, "./app"))

    def test_make_builds_in_parallel_and_only_what_changed(self):
        self.need("gcc", "make")
        box = self.box()
        self.write(box, main_c='#include <stdio.h>\n#include "part.h"\nint main(void) { printf("%d\\n", part(6)); }\n',
                   part_c='#include "part.h"\nint part(int n) { return n * 7; }\n', part_h="int part(int);\n", Makefile=MAKEFILE)
        self.ok(box, "make -j4 CC=gcc", seconds=90)
        self.assertEqual("42\n", self.ok(box, "./app"))
        self.assertIn("up to date", self.ok(box, "make CC=gcc"))


class Rust(Workload):
    def test_rustc(self):
        self.need("rustc")
        box = self.box(limits={"cpus": 2})
        self.write(box, main_rs=RUST)
        self.ok(box, "rustc -O -o app main.rs", seconds=120)
        self.assertEqual(f"6 {PRIMES}\n", self.ok(box, "./app"))

    def test_cargo_builds_a_workspace_and_runs_its_tests_offline(self):
        self.need("cargo")
        box = self.box(limits={"cpus": 2})
        self.write(box,
                   Cargo_toml='[workspace]\nmembers = ["seven", "app"]\n',
                   seven__Cargo_toml='[package]\nname = "seven"\nversion = "0.1.0"\nedition = "2021"\n',
                   seven__src__lib_rs="pub fn times(n: u32) -> u32 { n * 7 }\n#[test]\nfn right() { assert_eq!(42, times(6)); }\n",
                   app__Cargo_toml='[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n'
                                   '[dependencies]\nseven = { path = "../seven" }\n',
                   app__src__main_rs='fn main() { println!("{}", seven::times(9)); }\n')
        self.assertEqual("63\n", self.ok(box, "cargo run -q --offline -p app", seconds=120))
        self.assertIn("1 passed", self.ok(box, "cargo test -q --offline -p seven", seconds=120))


class Go(Workload):
    def test_go_builds_tests_and_runs(self):
        self.need("go")
        for go in self.paths_of("go"):
            with self.subTest(go=go):
                # A cold cache: the packages of the standard library are built too, most of a minute on one processor.
                box = self.box(limits={"cpus": 2})
                self.write(box, go_mod="module app\n\ngo 1.18\n", main_go=GO, main_test_go=GO_TEST)
                self.ok(box, f"{go} build -o app .", seconds=240)
                self.assertEqual(f"{PRIMES} 42 <nil>\n", self.ok(box, "./app"))
                self.assertRegex(self.ok(box, f"{go} test -vet=off ./...", seconds=240), r"^ok\s+app\s")


class Java(Workload):
    def test_javac_and_a_program_with_threads_and_a_child(self):
        self.need("javac", "java")
        box = self.box(limits={"cpus": 2})
        self.write(box, Main_java=JAVA)
        self.ok(box, "javac Main.java", seconds=120)
        self.assertEqual(f"{PRIMES} 42 0\n", self.ok(box, "java Main", seconds=120))

    def test_java_runs_a_source_file(self):
        self.need("javac", "java")
        box = self.box(limits={"cpus": 2})
        self.write(box, Hello_java='class Hello { public static void main(String[] a) { System.out.println("hello ".repeat(2) + 6 * 7); } }\n')
        self.assertEqual("hello hello 42\n", self.ok(box, "java Hello.java", seconds=120))


if __name__ == "__main__":
    unittest.main()
