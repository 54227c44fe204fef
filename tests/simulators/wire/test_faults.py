"""What becomes of replies on a faulty line."""

import pytest

from megabar.simulators.noise import Noise
from megabar.simulators.wire.faults import Faults, Piece

REPLY = b"+1.2345E-03\n"


def bytes_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)


def test_without_rules_every_reply_leaves_at_once_and_whole():
    faults = Faults()
    assert [faults.pieces(REPLY) for _ in range(3)] == [[Piece(0.0, REPLY)]] * 3


def test_at_selects_the_numbered_replies_only():
    faults = Faults([{"kind": "drop", "at": [2, 4]}])
    assert [bytes_of(faults.pieces(REPLY)) for _ in range(5)] == [REPLY, b"", REPLY, b"", REPLY]


def test_every_selects_each_kth_reply():
    faults = Faults([{"kind": "drop", "every": 3}])
    assert [bool(faults.pieces(REPLY)) for _ in range(7)] == [True, True, False, True, True, False, True]


def test_probability_hits_its_share_and_repeats_with_the_seed():
    def hits(seed: int) -> list[bool]:
        faults = Faults([{"kind": "drop", "probability": 0.2}], Noise(seed, "meter"))
        return [not faults.pieces(REPLY) for _ in range(1000)]

    assert 150 < sum(hits(1)) < 250
    assert hits(1) == hits(1)
    assert hits(1) != hits(2)


def test_delay_holds_the_reply_back():
    assert Faults([{"kind": "delay", "at": [1], "seconds": 3.0}]).pieces(REPLY) == [Piece(3.0, REPLY)]


def test_truncate_loses_the_end():
    assert Faults([{"kind": "truncate", "at": 1, "bytes": 4}]).pieces(REPLY) == [Piece(0.0, REPLY[:4])]
    assert bytes_of(Faults([{"kind": "truncate", "at": 1}]).pieces(REPLY)) == REPLY[:6]


@pytest.mark.parametrize("n_bytes", [1, 3, 100])
def test_garble_changes_the_asked_number_of_bytes(n_bytes: int):
    garbled = bytes_of(Faults([{"kind": "garble", "at": 1, "bytes": n_bytes}], Noise(7, "meter")).pieces(REPLY))
    assert len(garbled) == len(REPLY)
    assert sum(a != b for a, b in zip(garbled, REPLY, strict=True)) == min(n_bytes, len(REPLY))


def test_split_sends_two_segments_apart():
    first, second = Faults([{"kind": "split", "at": 1, "seconds": 0.3}]).pieces(REPLY)
    assert (first.wait_s, second.wait_s, first.data + second.data) == (0.0, 0.3, REPLY)


def test_merge_puts_a_reply_and_the_next_into_one_segment():
    faults = Faults([{"kind": "merge", "at": 1}])
    assert faults.pieces(b"1\n") == []
    assert faults.pieces(b"2\n") == [Piece(0.0, b"1\n2\n")]


def test_a_held_reply_leaves_even_when_the_next_is_dropped():
    faults = Faults([{"kind": "merge", "at": 1}, {"kind": "drop", "at": 2}])
    faults.pieces(b"1\n")
    assert faults.pieces(b"2\n") == [Piece(0.0, b"1\n")]


def test_the_first_rule_that_selects_a_reply_is_the_one_applied():
    faults = Faults([{"kind": "delay", "at": 1, "seconds": 2.0}, {"kind": "drop", "every": 1}])
    assert faults.pieces(REPLY) == [Piece(2.0, REPLY)]
    assert faults.pieces(REPLY) == []


def test_disconnect_counts_commands_not_replies():
    faults = Faults([{"kind": "disconnect", "at": [3]}])
    assert [faults.disconnects() for _ in range(4)] == [False, False, True, False]
    assert faults.pieces(REPLY) == [Piece(0.0, REPLY)]


@pytest.mark.parametrize(
    "rule, words",
    [
        ({"kind": "melt", "at": [1]}, "unknown"),
        ({"at": [1]}, "unknown"),
        ({"kind": "drop"}, "exactly one"),
        ({"kind": "drop", "at": [1], "every": 2}, "exactly one"),
        ({"kind": "drop", "at": [0]}, "from 1"),
        ({"kind": "drop", "at": ["1"]}, "from 1"),
        ({"kind": "drop", "every": 0}, "from 1"),
        ({"kind": "drop", "every": 1, "seconds": 2}, "seconds"),
        ({"kind": "drop", "probability": 1.5}, "probability"),
        ({"kind": "drop", "probability": "often"}, "probability"),
        ({"kind": "delay", "at": [1], "seconds": -1}, "seconds"),
        ({"kind": "delay", "at": [1], "seconds": float("nan")}, "seconds"),
        ({"kind": "garble", "at": [1]}, "noise"),
        ({"kind": "drop", "probability": 0.5}, "noise"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_one_line(rule: dict, words: str):
    with pytest.raises(ValueError, match=words) as refusal:
        Faults([rule])
    assert "\n" not in str(refusal.value)
