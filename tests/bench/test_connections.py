"""An idle connection costs the broker little memory, whatever it did before. For the optimized build."""
import connections
import tap
from psbroker_test import Case

CONNECTIONS = 1000
BOUND = 16 * 1024


class Connections(Case):
    def test_an_idle_connection_costs_little(self):
        connections.raise_descriptor_limit()
        server = self.broker()
        figures = connections.measure(server, CONNECTIONS)
        print(f"# {figures}")
        for stage in ("connected", "subscribed", "worked"):
            self.assertLessEqual(figures[stage + "_bytes_each"], BOUND, stage)
        self.assertEqual(server.terminate(), 0)


if __name__ == "__main__":
    tap.main()
