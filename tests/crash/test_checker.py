"""The checker of the crash tests sees each kind of damage: a checker that finds nothing proves nothing."""
import unittest

import tap
from checker import (Log, check_acknowledged, check_committed, check_delivery_order, check_once_and_in_order,
                     check_seen)
from recorder import number_of, payload_of


def log_of(*numbers, topic=b"t"):
    log = Log()
    for offset, number in enumerate(numbers):
        log.add(topic, offset, payload_of(number))
    return log


class Checker(unittest.TestCase):
    def test_payloads_name_their_number(self):
        for number in (0, 1, 35, 36, 12345678901234567890):
            self.assertEqual(number_of(payload_of(number)), number)

    def test_any_changed_byte_of_a_payload_shows(self):
        payload = payload_of(1 << 40 | 77)
        for index in range(len(payload)):
            changed = bytearray(payload)
            changed[index] ^= 1
            self.assertNotEqual(number_of(bytes(changed)), 1 << 40 | 77)
        self.assertIsNone(number_of(payload[:-1]))

    def test_a_whole_log_has_no_complaints(self):
        log = log_of(1, 2, 3)
        self.assertEqual(log.problems, [])
        self.assertEqual(check_acknowledged(log, [(b"t", 0, 1), (b"t", 2, 3)]), [])
        self.assertEqual(check_seen(log, [(b"t", 1, 2)]), [])
        self.assertEqual(check_once_and_in_order(log, {1: b"t", 2: b"t", 3: b"t"}, lambda number: 0), [])

    def test_a_lost_message(self):
        self.assertTrue(check_acknowledged(log_of(1, 2), [(b"t", 2, 3)]))
        self.assertTrue(check_acknowledged(log_of(1, 2), [(b"u", 0, 1)]))

    def test_a_message_at_another_offset(self):
        self.assertTrue(check_acknowledged(log_of(2, 1), [(b"t", 0, 1)]))

    def test_a_hole_and_a_repetition_of_offsets(self):
        for offset in (0, 2):
            log = log_of(1)
            log.add(b"t", offset, payload_of(2))
            self.assertTrue(log.problems)

    def test_a_changed_payload(self):
        log = Log()
        log.add(b"t", 0, b"0:forged")
        self.assertTrue(log.problems)

    def test_a_duplicate(self):
        self.assertTrue(check_once_and_in_order(log_of(1, 1), {1: b"t"}, lambda number: 0))

    def test_a_message_that_nobody_sent_and_one_in_a_wrong_topic(self):
        self.assertTrue(check_once_and_in_order(log_of(1), {}, lambda number: 0))
        self.assertTrue(check_once_and_in_order(log_of(1), {1: b"u"}, lambda number: 0))

    def test_one_publisher_out_of_order(self):
        sent = {1: b"t", 2: b"t"}
        self.assertTrue(check_once_and_in_order(log_of(2, 1), sent, lambda number: 0))
        self.assertEqual(check_once_and_in_order(log_of(2, 1), sent, lambda number: number), [])

    def test_something_seen_that_changed(self):
        self.assertTrue(check_seen(log_of(1), [(b"t", 0, 2)]))
        self.assertTrue(check_seen(log_of(1), [(b"t", 1, 2)]))
        self.assertTrue(check_seen(log_of(1), [(b"t", 0, None)]))

    def test_deliveries_with_a_gap_or_a_duplicate(self):
        self.assertEqual(check_delivery_order([(b"t", 3, 1), (b"t", 4, 2), (b"u", 0, 3)], {b"t": 3}), [])
        self.assertTrue(check_delivery_order([(b"t", 3, 1), (b"t", 5, 2)], {b"t": 3}))
        self.assertTrue(check_delivery_order([(b"t", 3, 1), (b"t", 3, 1)], {b"t": 3}))
        self.assertTrue(check_delivery_order([(b"t", 4, 1)], {b"t": 3}))

    def test_committed_offsets_that_went_back_or_ahead(self):
        self.assertEqual(check_committed({b"t": 5}, {b"t": 5}, {b"t": 6}), [])
        self.assertTrue(check_committed({b"t": 4}, {b"t": 5}, {b"t": 6}))
        self.assertTrue(check_committed({}, {b"t": 5}, {b"t": 6}))
        self.assertTrue(check_committed({b"t": 7}, {b"t": 5}, {b"t": 6}))


if __name__ == "__main__":
    tap.main()
