"""growth.py still runs: every part at a small size, points in the JSON, plots that are well-formed. Nothing is timed."""
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import tap

import chart
import growth
import machine
from psbroker_test import Case

GROWTH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "growth.py")
MOST_BYTES = 50_000  # of a plot


class Growth(Case):
    def growth(self, *arguments, code=0):
        done = subprocess.run([sys.executable, GROWTH, "--plots", self.path("plots"), *arguments], check=False,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def results(self):
        with open(self.path("plots", "growth.json"), encoding="utf-8") as file:
            return json.load(file)["parts"]

    def quick(self, part):
        os.mkdir(self.path("data"))
        self.growth("--quick", part, "--data", self.path("data"))
        self.assertEqual(os.listdir(self.path("data")), [])
        self.assertEqual(self.results()[part]["machine"]["revision"], machine.revision())
        return self.results()[part]

    def assert_plots(self, *names):
        self.assertEqual(sorted(os.listdir(self.path("plots"))), sorted([*names, "growth.json"]))
        for name in names:
            self.assertLess(os.path.getsize(self.path("plots", name)), MOST_BYTES)
            root = ElementTree.parse(self.path("plots", name)).getroot()
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")

    def test_file(self):
        found = self.quick("file")
        self.assertEqual(set(found["rates"]), {"100", "1024"})
        for points in found["rates"].values():
            self.assertGreater(len(points), 1)
            self.assertEqual(points, sorted(points))
            self.assertTrue(any(rate > 0 for _, rate in points))  # the file grows by checkpoints
        self.assertEqual([each["cold"] for each in found["restarts"]], [False, True] * 2)
        self.assertTrue(all(each["seconds"] > 0 and each["recovered_ms"] >= 0 for each in found["restarts"]))
        self.assert_plots("rate-file.svg", "restart.svg")

    def test_topics(self):
        found = self.quick("topics")
        self.assertEqual(len(found["points"]), 2)
        self.assertGreaterEqual(found["points"][-1]["messages"], 100_000)
        self.assertEqual(len(found["restarts"]), 2)
        self.assert_plots("deep-index.svg")

    def test_wal(self):
        found = self.quick("wal")
        self.assertTrue(any(sample["replayed_per_s"] > 0 for sample in found["samples"]))
        self.assertGreaterEqual(found["whole_replays"], 0)  # a turn is short, and the machine may be busy
        self.assertGreater(found["ratio"], 0)
        self.assert_plots("wal.svg")

    def test_subscriptions(self):
        points = self.quick("subscriptions")["points"]
        self.assertEqual([point["subscriptions"] for point in points], [0, 1000, 3000])
        self.assertGreater(points[-1]["file_bytes"], points[0]["file_bytes"])
        self.assertEqual(len({point["threads"] for point in points}), 1)
        self.assert_plots("subscriptions.svg")

    def test_connections(self):
        points = self.quick("connections")["points"]
        self.assertEqual([point["connections"] for point in points], [10, 20])
        self.assert_plots("connections.svg")

    def test_stopped(self):
        found = self.quick("stopped")
        for kind in ("live", "history"):
            self.assertEqual([point["stopped"] for point in found[kind]], [0, 5])
            self.assertTrue(all(point["msgs_per_s"] > 0 for point in found[kind]))
        self.assert_plots("stopped.svg")

    def test_what_was_measured_is_kept_and_drawn_again(self):
        self.growth("--quick", "subscriptions")
        self.growth("--quick", "stopped")
        self.assertEqual(set(self.results()), {"subscriptions", "stopped"})
        os.unlink(self.path("plots", "stopped.svg"))
        self.growth("--draw")
        self.assert_plots("subscriptions.svg", "stopped.svg")

    def test_refusals(self):
        self.assertIn("no part nonsense", self.growth("nonsense", code=2).stderr)
        if machine.refusal("/dev/shm"):
            self.assertIn("tmpfs", self.growth("stopped", "--data", "/dev/shm", code=1).stderr)

    def test_help_states_the_disk_space(self):
        self.assertIn("GB", self.growth("--help").stdout)

    def test_committed_plots_are_drawn_from_the_committed_points(self):
        plots = os.path.join(os.path.dirname(GROWTH), "plots")
        for name, figures in growth.load(os.path.join(plots, "growth.json"))["parts"].items():
            for file, drawing in growth.PARTS[name].charts(figures).items():
                with open(os.path.join(plots, file), encoding="utf-8") as text:
                    self.assertEqual(text.read(), drawing.svg(), f"{file}: run growth.py --draw")


class Axes(Case):
    def test_ticks_are_round_and_reach_the_end(self):
        self.assertEqual(chart.ticks(1.2, 5), [0, 0.25, 0.5, 0.75, 1.0, 1.25])
        self.assertEqual(chart.ticks(100, 5), [0, 20, 40, 60, 80, 100])
        self.assertEqual(chart.ticks(0), [0, 1])
        self.assertEqual(chart.decades(0.003, 1), [0.001, 0.01, 0.1, 1])

    def test_numbers_are_short(self):
        self.assertEqual([chart.short(value) for value in (0, 12.5, 2500, 1500000)], ["0", "12.5", "2.5 k", "1.5 M"])


if __name__ == "__main__":
    tap.main()
