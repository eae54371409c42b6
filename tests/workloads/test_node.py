"""Node: the compiler, workers, WebAssembly, child processes, sockets; npm from folders and archives, without a network."""
import json
import unittest

from workload import Workload

WORKERS = """
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
if (isMainThread) {
  const shared = new SharedArrayBuffer(8);
  const sums = [0, 1, 2, 3].map(part => new Promise((done, fail) => {
    const worker = new Worker(__filename, { workerData: { part, shared } });
    worker.on('message', done).on('error', fail);
  }));
  Promise.all(sums).then(all => console.log(all.reduce((a, b) => a + b), Number(new BigInt64Array(shared)[0])));
} else {
  let sum = 0;
  for (let n = workerData.part; n < 4e6; n += 4) sum += n % 1000;   // hot: the optimizing compiler takes it
  Atomics.add(new BigInt64Array(workerData.shared), 0, BigInt(sum));
  parentPort.postMessage(sum);
}
"""

SERVER = """
const http = require('http'), { execFile } = require('child_process'), crypto = require('crypto'), zlib = require('zlib');
const server = http.createServer((request, response) => response.end(String(eval(request.url.slice(1)))));
server.listen(0, '127.0.0.1', async () => {
  const answer = await (await fetch(`http://127.0.0.1:${server.address().port}/6*7`)).text();
  execFile('sh', ['-c', 'echo $((40 + 2))'], (error, out) => {
    const packed = zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(1e6, 'ab'))).length;
    console.log(answer, out.trim(), packed, crypto.createHash('sha256').update('abc').digest('hex').slice(0, 8));
    server.close();
  });
});
"""

WASM = """
// (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add), and one page of memory
const bytes = Uint8Array.from([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,5,3,1,0,1,7,7,1,3,97,100,100,0,0,
                               10,9,1,7,0,32,0,32,1,106,11]);
WebAssembly.instantiate(bytes).then(({ instance }) => console.log(instance.exports.add(40, 2)));
"""


class Node(Workload):
    def setUp(self):
        self.need("node")

    def node(self, box, code, **fields):
        self.write(box, main_js=code)
        return self.ok(box, argv=["node", "main.js"], **fields)

    def test_workers_share_memory_and_add_up(self):
        total = sum(n % 1000 for n in range(4_000_000))
        self.assertEqual(f"{total} {total}\n", self.node(self.box(limits={"cpus": 2}), WORKERS, seconds=90))

    def test_a_server_a_child_process_and_the_thread_pool(self):
        self.assertEqual("42 42 1000000 ba7816bf\n", self.node(self.box(), SERVER))

    def test_web_assembly(self):
        self.assertEqual("42\n", self.node(self.box(), WASM))

    def test_the_language_javascript_of_a_run_is_node(self):
        answer = self.client.run("console.log([1, 2, 3].reduce((a, b) => a + b))", language="javascript")
        self.assertEqual(("6\n", 0), (answer["stdout"], answer["exit_code"]), answer)


class Npm(Workload):
    def setUp(self):
        self.need("node", "npm")

    def test_npm_installs_a_folder_and_an_archive_and_runs_a_script(self):
        box = self.box(limits={"cpus": 2})
        self.write(box,
                   seven__package_json=json.dumps({"name": "seven", "version": "1.0.0", "main": "index.js"}),
                   seven__index_js="module.exports = n => n * 7;\n",
                   two__package_json=json.dumps({"name": "two", "version": "2.1.0", "bin": {"two": "cli.js"}}),
                   two__cli_js="#!/usr/bin/env node\nconsole.log('two', 1 + 1);\n",
                   app__package_json=json.dumps({"name": "app", "version": "0.0.1", "scripts": {"start": "node app.js && two"}}),
                   app__app_js="console.log(require('seven')(6), require('seven/package.json').version);\n")
        quiet = {"npm_config_audit": "false", "npm_config_fund": "false", "npm_config_update_notifier": "false", "npm_config_offline": "true"}
        self.assertEqual("two-2.1.0.tgz\n", self.ok(box, "npm pack --silent ./two", env=quiet, seconds=120))
        self.ok(box, "npm install --silent ../seven ../two-2.1.0.tgz", cwd="app", env=quiet, seconds=120)
        self.assertEqual("42 1.0.0\ntwo 2\n", self.ok(box, "npm run --silent start", cwd="app", env=quiet, seconds=120))
        lock = json.loads(box.read("app/package-lock.json"))
        self.assertEqual("2.1.0", lock["packages"]["node_modules/two"]["version"])


if __name__ == "__main__":
    unittest.main()
