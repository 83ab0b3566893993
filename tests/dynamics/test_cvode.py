"""The integrator ends where it is asked to, on problems with known solutions, and says when it cannot go on."""

import numpy as np
import pytest

from layerpeel.dynamics.cvode import IntegrationFailed, Integrator

STIFF = np.array([[-1000.0, 999.0], [999.0, -1000.0]])  # eigenvalues -1 and -1999


def stiff(rtol=1e-9):
    """x' = STIFF x with the time as last component; from (2, 0): (e^-t + e^-1999t, e^-t - e^-1999t)."""
    field = lambda y: np.append(STIFF @ y[:2], 1.0)  # noqa: E731
    return Integrator(
        field, lambda y: lambda v: np.append(STIFF @ v[:2], 0.0), np.array([2.0, 0, 0]), rtol=rtol, atol=rtol / 100
    )


def test_a_stiff_system_is_its_exact_solution_at_each_wanted_time():
    integrator = stiff()
    for time in (1e-4, 1e-3, 0.5, 2.0):
        y = integrator.advance_to(time)
        slow, fast = np.exp(-time), np.exp(-1999 * time)
        np.testing.assert_allclose(y, [slow + fast, slow - fast, time], rtol=1e-6, atol=1e-10)


def test_times_within_one_step_and_twice_the_same_are_interpolated():
    integrator = stiff()
    integrator.advance_to(1.0)
    taken = integrator.s
    nearby = [integrator.advance_to(time) for time in (1.0, 1.0 + 1e-9, 1.0 + 2e-9)]
    assert integrator.s - taken < 0.2
    np.testing.assert_allclose([y[-1] for y in nearby], [1.0, 1.0 + 1e-9, 1.0 + 2e-9], rtol=1e-14)


def test_the_start_is_handed_back():
    assert stiff().advance_to(0.0).tolist() == [2.0, 0.0, 0.0]


def test_each_step_is_told():
    integrator, told = stiff(), []
    integrator.advance_to(1.0, lambda y: told.append(y[-1]))
    assert (np.diff(told) > 0).all()
    assert told[-1] >= 1.0


def test_a_solution_that_explodes_is_a_failure_without_a_word_of_sundials(capfd):
    field = lambda y: np.array([y[0] ** 2, 1.0])  # noqa: E731, x = 1 / (1 - t)
    integrator = Integrator(
        field, lambda y: lambda v: np.array([2 * y[0] * v[0], 0.0]), np.ones(2), rtol=1e-8, atol=1e-8
    )
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(IntegrationFailed):
        integrator.advance_to(10.0)
    assert capfd.readouterr() == ("", "")


def test_an_exception_of_the_field_comes_through():
    def field(y):
        raise KeyboardInterrupt

    integrator = Integrator(field, lambda y: lambda v: v, np.zeros(2), rtol=1e-6, atol=1e-6)
    with pytest.raises(KeyboardInterrupt):
        integrator.advance_to(1.0)


def test_what_a_field_prints_is_printed(capsys):
    def field(y):
        print("a field")
        return np.ones(1)

    Integrator(field, lambda y: lambda v: 0 * v, np.zeros(1), rtol=1e-6, atol=1e-6).advance_to(1.0)
    assert set(capsys.readouterr().out.split("\n")) == {"a field", ""}
