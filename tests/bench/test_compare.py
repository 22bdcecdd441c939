"""The instrument itself: what it makes of figures, what it does not take for one, and that it leaves nothing behind."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
import unittest.mock

import tap

import compare
import machine
import report
import systems
from psbroker_test import PSBROKER, Case, wait_until
from report import Row, Run, Samples

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.dirname(os.path.dirname(os.path.abspath(PSBROKER)))
OURS, THEIRS, THIRD = Run("psbroker", "pub"), Run("nats", "pub"), Run("redis", "pub")


def samples_of(**rates):
    samples = Samples()
    for run in (OURS, THEIRS, THIRD):
        for rate in rates.get(run.system, ()):
            samples.add(run, {"msgs_per_s": rate})
    return samples


class Arithmetic(unittest.TestCase):
    def test_the_median_counts_not_the_best(self):
        samples = samples_of(psbroker=[100, 900, 300], nats=[100, 150, 50])
        self.assertEqual(samples.median(OURS), 300)
        self.assertEqual(report.ratio(samples, Row("w", OURS, THEIRS, 3.0)), 3.0)
        self.assertEqual(report.shown(samples, OURS), "300 msg/s (100–900)")

    def test_a_ratio_is_not_rounded_up_to_its_target(self):
        samples = samples_of(psbroker=[749.9] * 3, nats=[1000] * 3)
        row = Row("w", OURS, THEIRS, 0.75)
        self.assertEqual(report.verdict(row, report.ratio(samples, row)), "NO")
        self.assertIn("| 0.75 | ≥ 0.75 | NO |", report.comparison([([row], samples)], lambda run: run.system))

    def test_lower_is_better_where_it_is(self):
        row = Row("w", OURS, THEIRS, 1.0, lower=True)
        self.assertEqual([report.verdict(row, value) for value in (0.5, 1.0, 1.01)], ["yes", "yes", "NO"])
        self.assertEqual([report.verdict(Row("w", OURS, THEIRS, 1.0), value) for value in (0.99, 1.0)], ["NO", "yes"])

    def test_one_failed_round_is_no_measurement(self):
        samples = samples_of(psbroker=[100, 100], nats=[10, 10])
        samples.fail(THEIRS, "nats-server fell over")
        row = Row("w", OURS, THEIRS, 6.0)
        self.assertIsNone(report.ratio(samples, row))
        self.assertEqual(report.verdict(row, None), "not measured")
        self.assertIn("not measured: nats-server fell over", report.comparison([([row], samples)], lambda run: run.system))

    def test_lost_messages_are_no_figure(self):
        for result in ({"msgs_per_s": 5, "refused": 1}, {"msgs_per_s": 5, "unknown": 1}, {"msgs_per_s": 5, "complete": False},
                       {"msgs_per_s": 0}, {"msgs_per_s": None}, {"msgs_per_s": "fast"}, {}):
            samples = Samples()
            samples.add(OURS, result)
            self.assertIsNone(samples.median(OURS), result)
            self.assertIn("not measured", report.shown(samples, OURS))

    def test_without_a_target_nothing_is_judged(self):
        samples = samples_of(psbroker=[10] * 3, nats=[20] * 3, redis=[5] * 3)
        rows = [Row("w", OURS, THEIRS), Row("w", OURS, THIRD, 1.0)]
        self.assertEqual(report.verdict(rows[0], 0.5), "")
        self.assertEqual(report.summary([(rows, samples)]), "1 of 1 targets reached, 0 missed, 0 not measured.")

    def test_two_rounds_are_no_verdict(self):
        row = Row("w", OURS, THEIRS, 0.5)
        for rates in ({"psbroker": [10, 10], "nats": [20, 20]}, {"psbroker": [10, 10, 10], "nats": [20, 20]}):
            measured = [([row], samples_of(**rates))]
            self.assertIn("| 0.50 | ≥ 0.5 |  |", report.comparison(measured, lambda run: run.system))
            self.assertIn("| 50% | ≥ 50% |  |", report.fairness(measured, {}))
            self.assertEqual(report.summary(measured), "0 of 1 targets reached, 0 missed, 0 not measured, "
                                                       "1 not judged: a verdict takes 3 rounds.")

    def test_the_table(self):
        samples = samples_of(psbroker=[1234567] * 3, nats=[23.456] * 3, redis=[0.5] * 3)
        table = report.comparison([([Row("a|b", OURS, THEIRS, 6.0), Row("a|b", OURS, THIRD)], samples)], lambda run: run.system)
        self.assertEqual(table, textwrap.dedent("""\
            | work | psbroker | against | theirs | ratio | target | reached |
            |---|---|---|---|---|---|---|
            | a\\|b | 1,234,567 msg/s (1,234,567–1,234,567) | nats | 23.5 msg/s (23.5–23.5) | 52633.31 | ≥ 6 | yes |
            | " | " | redis | 0.5 msg/s (0.5–0.5) | 2469134.00 |  |  |
            """))

    def test_effort_of_a_run(self):
        samples = Samples()
        for client in (1, 2, 3):
            samples.add(OURS, {"msgs_per_s": 1, "elapsed_s": 4, "client_cpu_s": client, "server_cpu_s": None,
                               "server": {"messages_per_commit": 1000 * client}})
        samples.add(THEIRS, {"msgs_per_s": 1, "elapsed_s": 2, "client_cpu_s": 1, "server_cpu_s": 3, "messages": 900, "commits": 3})
        effort = report.effort([([Row("w", OURS, THEIRS)], samples)])
        self.assertIn("| psbroker | `pub` | 50% |  | 2,000 |", effort)
        self.assertIn("| nats | `pub` | 50% | 150% | 300 |", effort)


class Rounds(unittest.TestCase):
    def test_rounds_alternate(self):
        order = []
        compare.measure([OURS, THEIRS, THIRD], 2, lambda run: order.append(run) or {"msgs_per_s": 1}, tell=lambda text: None)
        self.assertEqual(order, [OURS, THEIRS, THIRD] * 2)

    def test_what_failed_once_is_not_tried_again(self):
        order = []

        def run_one(run):
            order.append(run)
            if run == THEIRS:
                raise systems.NotMeasured("not there")
            return {"msgs_per_s": 1}
        samples = compare.measure([OURS, THEIRS], 3, run_one, tell=lambda text: None)
        self.assertEqual((order.count(OURS), order.count(THEIRS)), (3, 1))
        self.assertEqual((samples.median(OURS), samples.reasons), (1, {THEIRS: "not there"}))

    def test_each_work_has_its_own_samples(self):
        rows = [Row("first", OURS, THEIRS), Row("second", OURS, THIRD), Row("first", OURS, THIRD)]
        works = list(compare.compare(rows, 1, lambda run: {"msgs_per_s": 1}, tell=lambda text: None))
        self.assertEqual([work for work, _ in works], [[rows[0], rows[2]], [rows[1]]])
        self.assertEqual([len(samples.found) for _, samples in works], [3, 2])

    def test_words_of_a_run(self):
        run = compare.of("psbroker", "replay", messages=1000, one_topic=True, duration=5.0, size=100)
        self.assertEqual(run.work(), ["replay", "--messages", "1000", "--one-topic", "--duration", "5s", "--size", "100"])
        self.assertEqual(run.scaled(0.02).work(), ["replay", "--messages", "20", "--one-topic", "--duration", "0.2s", "--size", "100"])
        self.assertEqual(run.scaled(0.1).work()[-3], "0.5s")

    def test_each_ceiling_has_a_row_on_either_vfs_and_one_target(self):
        plain = [row for row in compare.ROWS if row.against.system == "ceiling"]
        ours = [row for row in compare.ROWS if row.against.system == "ceiling-vfs"]
        self.assertEqual([(row.work, row.against.work(), row.target) for row in plain],
                         [(row.work, row.against.work(), row.target) for row in ours])
        self.assertTrue(any(row.target for row in plain))

    def test_every_row_can_run(self):
        known = dict.fromkeys(("psbroker", "psctl", "ceiling", "peers", "here", "port", "data"), "x")
        for row in compare.ROWS + compare.SAME_WORK:
            for run in (row.ours, row.against):
                system = systems.SYSTEMS[run.system]
                for word in (*system.server, *system.generator, *system.tail, *system.version, *system.inspect, *system.files.values()):
                    self.assertNotIn("{", word.format(**known))
        self.assertTrue(set(compare.REASONS) <= set(systems.SYSTEMS))


SERVER = """
import os, socket, sys
open(sys.argv[2] + "/pid", "w").write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()
"""


KILLS_THE_SERVER = """
import os, signal, sys
pid = int(open(sys.argv[2] + "/pid").read())
os.kill(pid, signal.SIGKILL)
while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
    pass
print('{"msgs_per_s": 7}')
"""


class OneRun(Case):
    def system(self, generator, server=True):
        for name, text in (("server.py", SERVER), ("generator.py", generator)):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write(text)
        command = (sys.executable, self.path("server.py"), "{port}", "{data}") if server else ()
        return systems.System("fake", "none", server=command, generator=(sys.executable, self.path("generator.py")),
                              tail=("{data}",), files={"conf": "port {port}"})

    def run_one(self, generator, **keywords):
        place = self.path("place")
        os.makedirs(place, exist_ok=True)
        try:
            return systems.run(self.system(generator, **keywords), ("pub",), {}, place)
        finally:
            self.assertEqual(os.listdir(place), [])
            self.assertEqual(processes_with(place), [])

    def test_the_object_comes_back_with_processor_time(self):
        found = self.run_one("import sys; assert sys.argv[1] == 'pub'; assert open(sys.argv[2] + '/conf').read().startswith('port ');"
                             "print('{\"msgs_per_s\": 7}')")
        self.assertEqual(found["msgs_per_s"], 7)
        self.assertGreater(found["elapsed_s"], 0)
        self.assertGreaterEqual(found["server_cpu_s"], 0)
        self.assertGreaterEqual(found["client_cpu_s"], 0)

    def test_without_a_server(self):
        self.assertIsNone(self.run_one("print('{\"msgs_per_s\": 7}')", server=False)["server_cpu_s"])

    def test_a_generator_that_fails_is_quoted(self):
        with self.assertRaisesRegex(systems.NotMeasured, "ended with 1: 3 messages were lost"):
            self.run_one("import sys; sys.exit('3 messages\\nwere lost')")

    def test_what_is_no_object(self):
        with self.assertRaisesRegex(systems.NotMeasured, "no JSON"):
            self.run_one("print('fast')")

    def test_a_server_that_ends_is_no_measurement(self):
        with self.assertRaisesRegex(systems.NotMeasured, "the server ended"):
            self.run_one(KILLS_THE_SERVER)

    def test_a_server_that_does_not_start_is_quoted(self):
        system = systems.System("fake", "none", server=(sys.executable, "-c", "import sys; sys.exit('no room')"))
        with self.assertRaisesRegex(systems.NotMeasured, "fake does not start: no room"):
            systems.run(system, ("pub",), {}, self.path())
        self.assertEqual(os.listdir(self.path()), [])

    def test_a_server_that_does_not_answer_has_no_version_and_no_object(self):
        silent = (sys.executable, "-c", "import time; time.sleep(60)")
        with unittest.mock.patch.object(systems, "READY_S", 0.2):
            self.assertIsNone(systems.version_of(systems.System("fake", "none", version=silent), {}))
            system = systems.System("fake", "none", generator=("echo", '{{"msgs_per_s": 7}}'), inspect=silent)
            found = systems.run(system, (), {}, self.path())
        self.assertEqual((found["msgs_per_s"], found["server"]), (7, {}))

    def test_a_missing_program_is_named(self):
        for server, generator, reason in ((("no-such-server",), (), "no-such-server is not installed"),
                                          ((), ("{peers}/no_bench",), "no_bench is not built")):
            system = systems.System("fake", "none", server=server, generator=generator)
            with self.assertRaisesRegex(systems.NotMeasured, reason):
                systems.run(system, ("pub",), {"peers": "/nowhere"}, self.path())


def processes_with(word):
    """Pids of processes that have it on their command line; this one and its parents apart."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                if word in file.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass  # it ended meanwhile
    return found


class Revision(Case):
    def git(self, *arguments):
        subprocess.run(("git", "-C", self.path(), "-c", "user.name=x", "-c", "user.email=x", *arguments), check=True,
                       capture_output=True)

    def test_the_commit_and_whether_files_differ(self):
        self.assertEqual(machine.revision(self.path()), "unknown")
        self.git("init")
        with open(self.path("file"), "w", encoding="utf-8") as file:
            file.write("one")
        self.git("add", "file")
        self.git("commit", "-m", "one")
        clean = machine.revision(self.path())
        self.assertRegex(clean, r"^[0-9a-f]{12}$")
        with open(self.path("file"), "w", encoding="utf-8") as file:
            file.write("two")
        self.assertEqual(machine.revision(self.path()), clean + "-dirty")


class StoreBenchmark(unittest.TestCase):
    def bench(self, place, *arguments):
        return subprocess.run([os.path.join(BUILD, "tests/bench/bench_store"), *arguments, "store/append/topics 1/batch 1"],
                              capture_output=True, text=True, env={**os.environ, "TMPDIR": place})

    def test_memory_is_refused_where_something_is_measured(self):
        if not os.path.isdir("/dev/shm") or machine.refusal("/dev/shm") is None:
            self.skipTest("no tmpfs here")
        with tempfile.TemporaryDirectory(prefix="psbroker-test-", dir="/dev/shm") as place:
            done = self.bench(place)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("in memory", done.stderr)
            self.assertEqual(self.bench(place, "--smoke").returncode, 0)
            self.assertEqual(os.listdir(place), [])


class WholeProgram(Case):
    def command(self, *arguments):
        return [sys.executable, os.path.join(HERE, "compare.py"), "--build", BUILD, *arguments]

    def setUp(self):
        super().setUp()
        self.home = os.path.join(BUILD, "compare_test.%d" % os.getpid())
        os.makedirs(self.home, exist_ok=True)
        self.addCleanup(os.rmdir, self.home)  # fails when anything is left in it

    def need_a_disk(self):
        if machine.refusal(self.home):
            self.skipTest("the build directory is in memory")

    def test_memory_is_refused(self):
        self.assertIn("tmpfs", machine.refusal(self.home, magic=0x01021994))
        self.assertIn("--data", machine.refusal(self.home, magic=0x858458F6))
        self.assertIsNone(machine.refusal(self.home, magic=0xEF53))
        if not os.path.isdir("/dev/shm") or machine.refusal("/dev/shm") is None:
            self.skipTest("no tmpfs here")
        done = subprocess.run(self.command("--quick", "--data", "/dev/shm"), capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("/dev/shm is on tmpfs", done.stderr)

    def test_a_row_from_beginning_to_end(self):
        self.need_a_disk()
        done = subprocess.run(self.command("--quick", "--data", self.home, "--rows", "lone publisher .*ceiling"),
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\| lone publisher \(window 1\) \| [\d,]+ msg/s \| bare SQLite \d+\.\d+\.\d+, same layout, "
                                      r"synced at every commit \| [\d,]+ msg/s \| \d+\.\d\d \| ≥ 0.7 \|  \|")
        self.assertIn("not judged", done.stdout)
        self.assertRegex(done.stdout, r"fdatasync \| median \d+\.\d{3} ms, p99 \d+\.\d{3} ms")
        self.assertIn("| SQLite | 3.", done.stdout)
        self.assertIn(f"| revision | {machine.revision()} |", done.stdout)
        self.assertRegex(done.stdout, r"\| ceiling \| `single --messages 200` \| \d+% \|  \| 1 \|")
        self.assertRegex(done.stdout, r"\| psbroker \| `pub --messages 160 --window 1` \| \d+% \| \d+% \| [\d.]+ \|")
        self.assertRegex(done.stdout, r'\| " \| " \| bare SQLite \S+, on the store.s VFS, same layout, synced at every commit \| [\d,]+ msg/s')
        self.assertEqual(len(re.findall(r"^1/1 ", done.stderr, re.M)), 3)

    def test_an_interrupt_ends_the_servers(self):
        self.need_a_disk()
        process = subprocess.Popen(self.command("--data", self.home, "--rows", "10000 topics.*ceiling"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(processes_with(self.home)) >= 2, "a server")  # compare.py names it too
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("interrupted", err)
        self.assertIn("0 of 0 targets", out)
        self.assertEqual(processes_with(self.home), [])

    def test_wrong_words(self):
        for words in (["--rows", "no such work"], ["--rounds", "0"], ["--fast"]):
            self.assertEqual(subprocess.run(self.command(*words), capture_output=True).returncode, 2)


if __name__ == "__main__":
    tap.main()
