"""One thing is singular, any other number of them plural."""

import pytest

from layerpeel.wording import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds")])
def test_numbers_agree_with_their_nouns(number, text):
    assert counted(number, "round") == text
