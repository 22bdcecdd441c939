"""Where the broker listens, what a listener allows, how the broker ends."""
import os
import signal
import socket
import stat

import tap
import wire
from wire import Refused, Wire, pb

from psbroker_test import PSBROKER, Case, Process, wait_until, without_override


class Listeners(Case):
    def test_several_listeners_serve_one_log(self):
        path = self.path("socket")
        server = self.broker(listen=("127.0.0.1:0", "127.0.0.1:0", f"unix:{path}"))
        self.assertEqual([kind for kind, _ in server.listeners], ["tcp", "tcp", "unix"])
        self.assertNotEqual(server.port_of(0), server.port_of(1))
        self.assertEqual(server.listeners[2][1], path)
        self.pub(server.port_of(0), "t", "0")
        self.pub(server.port_of(1), "t", "1")
        self.run_psctl(None, "-s", f"unix:{path}", "pub", "t", "2")
        self.assertEqual(self.history(server.port_of(1), "t"), [b"0", b"1", b"2"])
        done = self.run_psctl(None, "sub", "t", "--from-beginning", "--exit-at-end", env={"PSCTL_SERVER": f"unix:{path}"})
        self.assertEqual(done.out, b"0\n1\n2\n")

    def test_roles(self):
        server = self.broker(listen=("127.0.0.1:0,role=publish", "127.0.0.1:0,role=subscribe"))
        publish, subscribe = server.port_of(0), server.port_of(1)
        self.assertEqual(self.pub(publish, "t", "0"), [0])
        self.assertEqual(self.history(subscribe, "t"), [b"0"])
        done = self.run_psctl(subscribe, "pub", "t", "1", code=4)
        self.assertIn("for subscribers only: use one with role=publish", done.err)
        done = self.run_psctl(publish, "sub", "t", "--exit-at-end", code=4)
        self.assertIn("for publishers only: use one with role=subscribe", done.err)
        self.assertEqual(self.history(subscribe, "t"), [b"0"])
        self.run_psctl(subscribe, "sub", "-i", "s", "t", "--exit-at-end")
        for port in (publish, subscribe):
            self.run_psctl(port, "ping")

    def test_roles_on_the_wire(self):
        server = self.broker(listen=("127.0.0.1:0,role=publish", "127.0.0.1:0,role=subscribe"))
        with Wire(server.port_of(0)) as client:
            with self.assertRaises(Refused) as caught:
                client.request(subscribe=pb.Subscribe(filter=b"t"))
            self.assertEqual(caught.exception.status, wire.ROLE_REFUSED)
            client.publish("t", "x")
        with Wire(server.port_of(1)) as client:
            try:
                run = client.publish("t", "x")[0]
                self.assertEqual(run.error.status, wire.ROLE_REFUSED)
            except Refused as refused:
                self.assertEqual(refused.status, wire.ROLE_REFUSED)
            client.subscribe("t")

    def test_only_loopback(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
            with self.subTest(address=address):
                process = self.broker_fails(listen=(address,), data=self.path("data-" + address[:3]))
                self.assertEqual(process.wait(), 2, process.err)
                self.assertIn("loopback", process.err)
                self.assertEqual(process.out, b"")

    def test_other_loopback_addresses(self):
        server = self.broker(listen=("127.0.0.2:0",))
        self.run_psctl(None, "-h", "127.0.0.2", "-p", str(server.port), "ping")

    def test_ipv6_loopback(self):
        if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6") or \
                not any(line.startswith("0" * 31 + "1") for line in open("/proc/net/if_inet6", encoding="ascii")):
            self.skipTest("no ::1 here")
        server = self.broker(listen=("[::1]:0",))
        self.run_psctl(None, "-h", "::1", "-p", str(server.port), "ping")

    def test_a_taken_port_is_named(self):
        server = self.broker()
        process = self.broker_fails(listen=(f"127.0.0.1:{server.port}",), data=self.path("other"))
        self.assertIn(process.wait(), (1, 2, 3))
        self.assertIn(str(server.port), process.err)
        self.assertIn("choose another with --listen", process.err)

    def test_unix_socket_of_a_killed_broker_is_taken_over(self):
        path = self.path("socket")
        server = self.broker(listen=(f"unix:{path}",))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o077, 0)
        server.kill()
        server = self.broker(listen=(f"unix:{path}",))
        self.run_psctl(None, "-s", f"unix:{path}", "ping")
        self.assertEqual(server.terminate(), 0)
        self.assertFalse(os.path.exists(path))

    def test_unix_socket_never_replaces_a_file(self):
        path = self.file("precious", "content")
        process = self.broker_fails(listen=(f"unix:{path}",))
        self.assertIn(process.wait(), (1, 2, 3))
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "content")

    def test_a_unix_socket_that_cannot_be_made(self):
        process = self.broker_fails(listen=(f"unix:{self.path('nowhere', 'socket')}",))
        self.assertEqual(process.wait(), 1)
        self.assertIn("its directory is not there; make it, or choose another path with --listen", process.err)
        os.mkdir(self.path("closed"), 0o500)
        process = self.broker_fails(listen=(f"unix:{self.path('closed', 'socket')}",), preexec=without_override)
        self.assertEqual(process.wait(), 1)
        self.assertIn("permission denied; choose another with --listen", process.err)

    def test_unix_socket_of_a_living_broker_is_not_taken(self):
        path = self.path("socket")
        self.broker(listen=(f"unix:{path}",))
        process = self.broker_fails(listen=(f"unix:{path}",), data=self.path("other"))
        self.assertIn(process.wait(), (1, 2, 3))
        self.run_psctl(None, "-s", f"unix:{path}", "ping")

    def test_default_data_directory_is_private(self):
        process = Process([PSBROKER, "--listen", "127.0.0.1:0"], cwd=self.dir)
        self.addCleanup(process.end)
        process.stdout.wait_lines(1)
        mode = os.stat(self.path("psbroker-data")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o700)


class Directory(Case):
    def test_a_second_broker_names_the_holder(self):
        server = self.broker()
        process = self.broker_fails()
        self.assertEqual(process.wait(), 3)
        self.assertIn(str(server.pid), process.err)
        self.pub(server, "t", "still there")

    def test_free_again_after_kill(self):
        self.broker().kill()
        self.pub(self.broker(), "t", "x")


class Ending(Case):
    def test_terminate_and_interrupt(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                server = self.broker()
                self.pub(server, "t", "x")
                server.signal(number)
                self.assertEqual(server.wait(), 0, server.err)

    def test_terminate_with_idle_and_silent_connections(self):
        server = self.broker()
        silent = socket.create_connection(("127.0.0.1", server.port))
        subscriber = self.start(server, "sub", "t")
        self.wait_attached(server, 1)
        self.assertEqual(server.terminate(), 0, server.err)
        silent.close()
        subscriber.signal(signal.SIGINT)
        subscriber.wait()

    def test_terminate_with_a_stopped_subscriber(self):
        server = self.broker()
        self.pub(server, "t", *["x" * 1000] * 20000)
        subscriber = self.start(server, "sub", "t", "--from-beginning")
        subscriber.stdout.wait_lines(1)
        subscriber.signal(signal.SIGSTOP)
        self.addCleanup(subscriber.signal, signal.SIGCONT)
        self.assertEqual(server.terminate(), 0, server.err)

    def refuses_connections(self, server):
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_a_second_signal_stops_at_once(self):
        """The first one leaves time to a subscriber that does not take what is queued for it."""
        server = self.broker()
        self.pub(server, "t", "x")
        subscriber = Wire(server.port)
        self.addCleanup(subscriber.close)
        subscriber.subscribe("#", start=wire.BEGINNING)
        with Wire(server.port) as publisher:
            for _ in range(40):
                publisher.publish("much", *[b"x" * 1000] * 1000)
        server.signal(signal.SIGTERM)
        wait_until(lambda: self.refuses_connections(server), "the first signal to be noticed")
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 1, server.err)
        self.assertEqual(self.history(self.broker(), "t"), [b"x"])

    def test_clean_stop_leaves_one_file_to_read(self):
        server = self.broker()
        self.pub(server, "t", *range(100))
        self.assertEqual(server.terminate(), 0)
        wal = server.database + "-wal"
        self.assertTrue(not os.path.exists(wal) or os.path.getsize(wal) == 0)

    def test_log_lines_are_structured_and_without_payloads(self):
        server = self.broker()
        self.pub(server, "t", "secret payload")
        server.terminate()
        lines = server.err.splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r"^\S*time=\S+ level=\w+ event=\S+")
        self.assertNotIn("secret", server.err)

    def test_silent_connections_are_given_up(self):
        server = self.broker("--ping-interval", "200ms")
        client = Wire(server.port)
        self.addCleanup(client.close)
        client.closed()  # answers no ping: the broker closes
        wait_until(lambda: self.info(server)["connections"] == 1, "the connection to be forgotten")


if __name__ == "__main__":
    tap.main()
