"""What dump prints, load publishes again, byte for byte."""
import json
import os
import random
import subprocess

import tap
from wire import Wire, pb

from psbroker_test import PSCTL, Case

ALPHABET = ["a", " ", "\"", "\\", "\n", "\r", "\t", "\x00", "\x7f", "\x85", "ä", "€", "\U0001f600", "\u2028", "\ufffe"]
BYTES = [b"", b"\x00", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"a\x00b", b"\xf4\x90\x80\x80"]


def random_bytes(chance):
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice(BYTES)
    if kind == 1:
        return chance.randbytes(chance.randrange(60))
    return "".join(chance.choices(ALPHABET, k=chance.randrange(40))).encode()


def random_text(chance):
    return "".join(chance.choices([letter for letter in ALPHABET if letter != "\x00"], k=chance.randrange(12))).encode()


def random_message(chance, number):
    message = pb.Message(payload=random_bytes(chance))
    if chance.randrange(3):
        message.key = random_bytes(chance)
    for index in range(chance.choice((0, 0, 0, 1, 2, 64))):
        message.headers.add(name=f"h{index}".encode() if index else "ä name".encode(), value=random_text(chance))
    return message


class DumpCase(Case):
    def second(self, *arguments):
        return self.broker(*arguments, data=self.path("second"))

    def fill(self, server, count=600):
        chance = random.Random(int(os.environ.get("PSBROKER_SEED", "7")))
        topics = ["t", "ä/€", "a/\"b\"", "many/" + "x" * 200]
        with Wire(server.port, identifier="somebody") as client:
            for number in range(count):
                client.publish(chance.choice(topics), random_message(chance, number))

    def dump(self, server, *arguments):
        return self.run_psctl(server, "dump", *arguments).out

    def essence(self, dumped):
        """By topic, without time and publisher: order within a topic counts."""
        found = {}
        for line in dumped.splitlines():
            message = json.loads(line)
            for name in ("published", "publisher"):
                message.pop(name, None)
            found.setdefault(message["topic"], []).append(message)
        return found


class RoundTrip(DumpCase):
    def test_everything_comes_back_byte_for_byte(self):
        first, second = self.broker(), self.second()
        self.fill(first)
        dumped = self.dump(first)
        self.assertEqual(dumped.count(b"\n"), 600)
        done = self.run_psctl(second, "load", "--check-offsets", stdin=dumped)
        self.assertEqual(done.out, b"")
        self.assertIn("600 loaded", done.err)
        self.assertEqual(self.essence(self.dump(second)), self.essence(dumped))

    def test_through_a_pipe_and_a_file(self):
        first, second = self.broker(), self.second()
        lines = [b"%d" % number for number in range(5000)]
        self.pub(first, "t", *lines)
        source = subprocess.Popen([PSCTL, "dump", "t"], env=self.environment(first), stdout=subprocess.PIPE)
        sink = subprocess.run([PSCTL, "load", "-q"], env=self.environment(second), stdin=source.stdout, check=True)
        source.stdout.close()
        self.assertEqual((source.wait(), sink.returncode), (0, 0))
        self.assertEqual(self.history(second, "t"), lines)
        self.run_psctl(second, "load", self.file("dump.jsonl", self.dump(first)))
        self.assertEqual(self.history(second, "t"), lines + lines)

    def test_a_filter_and_nothing(self):
        server = self.broker()
        self.assertEqual(self.dump(server), b"")
        self.pub(server, "a/1", "x")
        self.pub(server, "b", "y")
        self.assertEqual(list(self.essence(self.dump(server, "a/#"))), ["a/1"])
        self.assertEqual(self.run_psctl(server, "load", stdin=b"").err, "psctl: 0 loaded\n")
        self.assertEqual(self.run_psctl(server, "load", "-q", stdin=b"\n\n").err, "")

    def test_large_messages(self):
        first, second = self.broker(), self.second()
        for payload in (b"\x00" * 1000000, os.urandom(1000000)):
            self.run_psctl(first, "pub", "t", "-", stdin=payload)
        self.run_psctl(second, "load", stdin=self.dump(first))
        self.assertEqual(self.essence(self.dump(second)), self.essence(self.dump(first)))


class Damage(DumpCase):
    def damaged(self, *needles):
        """A broker on topics t/1 to t/3 with 400 messages each; a bit of each needle was flipped while it was stopped."""
        first = self.broker()
        for topic in ("1", "2", "3"):
            self.pub(first, "t/" + topic, *(f"<{topic}-{number}>" for number in range(400)))
        self.pub(first, "filler", *("." * 1000 for _ in range(100)))  # the start reads the pages where the log goes on
        first.terminate()
        with open(first.database, "r+b") as file:
            content = file.read()
            for needle in needles:
                at = content.rindex(needle)  # the first may be what was left in the root, which was a leaf once
                file.seek(at)
                file.write(bytes([content[at] ^ 1]))
        return self.broker()

    def left(self, out):
        return sorted(json.loads(line)["payload"] for line in out.decode().splitlines())

    def test_what_is_damaged_is_named_and_left_out(self):
        lost = ["<1-0>", "<1-200>", "<1-201>", "<1-202>", "<3-399>"]
        server = self.damaged(*(payload.encode() for payload in lost))
        done = self.run_psctl(server, "dump", "t/#", code=9)
        self.assertEqual(self.left(done.out), sorted({f"<{topic}-{number}>" for topic in "123" for number in range(400)} - set(lost)))
        for words in ('"t/1": a stored record does not match its checksum; offset 0 (damaged, 9)',
                      '"t/1": a stored record does not match its checksum; offsets 200 to 202 (damaged, 9)',
                      '"t/3": a stored record does not match its checksum; offset 399 (damaged, 9)',
                      "1195 messages printed, 5 left out because they are damaged (9)"):
            self.assertEqual(done.err.count(words), 1, done.err)
        for line in filter(lambda line: line.startswith("{"), done.err.splitlines()):
            self.assertIn(json.loads(line)["topic"], ("t/1", "t/3"))
        numbers = [message["offset"] for message in map(json.loads, done.out.splitlines()) if message["topic"] == "t/1"]
        self.assertEqual(numbers, sorted(numbers))

    def test_filters_that_overlap_name_it_once(self):
        server = self.damaged(b"<2-7>")
        done = self.run_psctl(server, "dump", "t/#", "t/2", "t/+", code=9)
        self.assertEqual(len(self.left(done.out)), 1199)
        self.assertEqual(done.err.count("offset 7 (damaged, 9)"), 1, done.err)
        self.assertIn("1199 messages printed, 1 left out", done.err)

    def test_a_dump_around_damage_can_be_loaded(self):
        server = self.damaged(b"<1-5>", b"<2-9>")
        second = self.second()
        self.assertIn("1298 loaded", self.run_psctl(second, "load", stdin=self.run_psctl(server, "dump", code=9).out).err)

    def test_sub_names_the_topic_and_the_way_on(self):
        server = self.damaged(b"<2-7>")
        done = self.run_psctl(server, "sub", "t/#", "--from-beginning", "--exit-at-end", code=9)
        self.assertIn('"t/2": a stored record does not match its checksum; offset 7 (damaged, 9)', done.err)
        self.assertIn('psctl sub "t/2" --from-offset 8 goes on behind it', done.err)
        done = self.run_psctl(server, "sub", "t/2", "-i", "me", "--from-beginning", "--exit-at-end", code=9)
        self.assertIn('psctl subs seek "t/2" -i "me" --to-offset 8 goes on behind it', done.err)
        self.run_psctl(server, "subs", "seek", "t/2", "-i", "me", "--to-offset", "8")
        self.assertEqual(len(self.run_psctl(server, "sub", "-i", "me", "--exit-at-end").lines()), 392)


class Refusals(DumpCase):
    def test_a_line_that_is_no_message_is_named_and_ends_it(self):
        good = b'{"topic":"t","payload":"x"}\n'
        for number, (bad, words) in enumerate(((b"{", "JSON"), (b"[]", "object"), (b'{"payload":"x"}', "topic"), (b'{"topic":"t"}', "payload"),
                           (b'{"topic":"t","payload":1}', "payload"), (b'{"topic":"t","paylod":"x"}', "paylod"),
                           (b'{"topic":"t","payload":"x","payload_b64":"eA=="}', "twice"),
                           (b'{"topic":"t","payload_b64":"eA="}', "base64"), (b'{"topic":"t","payload_b64":"e===" }', "base64"),
                           (b'{"topic":"t","payload":"x","payload":"y"}', "JSON"),
                           (b'{"topic":"t","payload":"x","headers":{"a":1}}', "header"),
                           (b'{"topic":"t","payload":"x","headers":[]}', "headers"),
                           (b'{"topic":"t","payload":"x","offset":-1}', "offset"), (b'{"topic":"t","payload":"\xff"}', "JSON"))):
            with self.subTest(line=bad):
                server = self.broker(data=self.path(f"data{number}"))
                done = self.run_psctl(server, "load", stdin=good * 2 + bad + b"\n" + good, code=2)
                self.assertIn("line 3: ", done.err)
                self.assertIn(words, done.err)
                self.assertIn("2 acknowledged", done.err)
                self.assertEqual(self.history(server, "t"), [b"x", b"x"])
                server.terminate()

    def test_what_the_broker_refuses_is_named(self):
        server = self.broker()
        done = self.run_psctl(server, "load", stdin=b'{"topic":"t","payload":"x"}\n{"topic":"+","payload":"x"}\n', code=2)
        self.assertIn('line 2, "+": not a topic name: + and # are wildcards, which only a filter may have (bad_topic, 2)', done.err)
        self.assertIn("line 2 and what follows is not stored: when that is mended, tail -n +2 FILE | psctl load goes on", done.err)
        full = self.second("--disk-floor", "1024G")
        done = self.run_psctl(full, "load", stdin=b'\n{"topic":"t","payload":"x"}\n', code=6)
        self.assertIn("line 2", done.err)

    def test_the_way_on_is_not_told_where_it_would_store_twice(self):
        server = self.broker("--max-topics", "1")
        lines = [b'{"topic":"t","payload":"%d"}\n' % number for number in range(4)]
        lines[1] = b'{"topic":"another","payload":"x"}\n'
        done = self.run_psctl(server, "load", stdin=b"".join(lines), code=6)
        self.assertIn('line 2: a limit was reached; max_topics is 1 (psbroker --max-topics)', done.err)
        self.assertIn("line 2 is not stored, some behind it are, to line 4: loading again from there would store those twice",
                      done.err)

    def test_offsets_that_differ(self):
        first, second = self.broker(), self.second()
        self.pub(first, "t", "0", "1")
        self.pub(second, "t", "there before")
        self.run_psctl(second, "load", stdin=self.dump(first))
        done = self.run_psctl(second, "load", "--check-offsets", stdin=self.dump(first), code=1)
        self.assertIn("line 1: it was stored at offset 3 and says 0", done.err)

    def test_a_file_that_is_not_there_and_a_broker_that_goes(self):
        server = self.broker()
        self.assertIn("nowhere", self.run_psctl(server, "load", self.path("nowhere"), code=1).err)
        loading = self.start(server, "load")
        loading.write(b'{"topic":"t","payload":"x"}\n')
        self.run_psctl(server, "sub", "t", "--from-beginning", "--count", "1")
        server.kill()
        self.assertEqual(loading.wait(), 3, loading.err)


if __name__ == "__main__":
    tap.main()
